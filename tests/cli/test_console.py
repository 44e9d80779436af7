import io
import re

import pytest
from rich.console import Console

from readmission.cli.console import (
    address_table,
    check_table,
    decision_line,
    expired_line,
    progress,
    result_table,
    wide,
    winner_line,
)
from readmission.context import Progress
from readmission.results import Expired, Publication, Selection, TrainedModel

METRICS = ("accuracy", "precision", "recall", "f1_score", "roc_auc")


def plain(width: int = 200, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def model(run_id: str, kind: str, value: float) -> TrainedModel:
    metrics = {f"{part}_{name}": value for part in ("train", "val") for name in METRICS}
    return TrainedModel(
        run_id=run_id, model_id="m", model_type=kind, cumulative_idx=0, rows=12_345, n_features=3,
        trained_at="2026-01-01T00:00:00Z", fit_seconds=1,
        metrics=metrics,
    )  # fmt: skip


@pytest.fixture
def selection() -> Selection:
    best = model("a", "random_forest", 0.61239)
    metrics = {"test_accuracy": 0.5, "test_f1_score": 0.25, "test_roc_auc": 0.75}
    return Selection(
        ranking=(best, model("b", "decision_tree", 0.5)),
        best=best,
        metrics=metrics,
        intervals={},
        slices=(),
        expired=Expired(rows=0, share=0, f1_without=0.25),
        rows={"val": 10, "test": 10},
    )


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_shows_every_model_and_figure(selection: Selection, width: int) -> None:
    console = plain(width)
    wide(console).print(result_table(selection))
    shown = text(console)
    assert shown.count("0.6124") == shown.count("0.5000") == 10
    assert "12,345" in shown
    assert "…" not in shown
    assert shown.count("*") == 1


def test_the_winner_in_a_line(selection: Selection) -> None:
    line = winner_line(selection)
    assert line == "Winner: random_forest on 12,345 rows; test accuracy 0.5000, F1 0.2500, ROC-AUC 0.7500"


def test_plain_lines_say_when_something_changes() -> None:
    console = plain()
    with progress(console) as report:
        for step in (
            Progress("clean: started"),
            Progress("clean: started"),
            Progress("trained a", 1, 4),
            Progress("trained b", 2, 4),
        ):
            report(step)
    assert text(console).splitlines() == ["clean: started", "trained a (1/4)", "trained b (2/4)"]


def test_bytes_make_no_line_each() -> None:
    console = plain()
    with progress(console) as report:
        for done in range(0, 1_000_000, 1000):
            report(Progress("download", done, 1_000_000))
    assert text(console).splitlines() == ["download"]


def test_plain_lines_are_not_wrapped_or_coloured() -> None:
    console = plain(width=20)
    what = "verify [bold]a very long name of a file[/bold] 12345"
    with progress(console) as report:
        report(Progress(what))
    assert text(console) == f"{what}\n"


def test_a_terminal_gets_a_bar() -> None:
    console = plain(terminal=True)
    with progress(console) as report:
        report(Progress("split: started"))
        report(Progress("trained a", 1, 2))
    assert "split: started" in text(console)
    assert "\x1b[" in text(console)


def plain_text(console: Console) -> str:
    """What a terminal was sent: each state of the live line on a line of its own, colours left out."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text(console).replace("\r", "\n"))


def test_a_step_without_a_total_shows_none_also_after_one_with_a_total() -> None:
    console = plain(terminal=True)
    with progress(console) as report:
        report(Progress("clean: started"))
        report(Progress("trained a", 20, 20))
        report(Progress("publish: started"))
    shown = plain_text(console)
    assert "publish: started" in shown
    assert not re.search(r"started.*\d+/", shown)
    assert "20/20" not in shown.partition("publish: started")[2]


def test_a_step_of_unknown_size_leaves_one_line_however_often_it_reports() -> None:
    console = plain(terminal=True)
    with progress(console) as report:
        for rows in range(0, 5_000, 1_000):
            report(Progress("verify", rows))
    assert re.findall(r"^verify\s*$", plain_text(console), re.MULTILINE) == ["verify"]


def test_a_step_with_a_total_shows_how_far_it_is() -> None:
    console = plain(terminal=True)
    with progress(console) as report:
        report(Progress("clean: started"))
        report(Progress("trained [a]", 7, 20))
    assert re.search(r"trained \[a\].* 7/20", plain_text(console))


def test_addresses_and_findings_are_tables() -> None:
    console = plain()
    console.print(address_table({"MLflow": "http://127.0.0.1:8002"}))
    console.print(check_table([("MLflow", True, "answers", ""), ("S3", False, "down", "start it")]))
    lines = [line.split() for line in text(console).splitlines()]
    assert ["MLflow", "http://127.0.0.1:8002"] in lines
    shown = text(console)
    assert "ok" in shown
    assert "!!" in shown
    assert "start it" in shown


def test_the_decision_in_a_line() -> None:
    published = Publication(
        version="4", previous="3", decision="published", reasons=("best",), parity_max_difference=0.0
    )
    assert decision_line(published) == "Published: version 4 is in production"
    refused = published.model_copy(update={"decision": "refused", "reasons": ("worse", "unfair")})
    assert decision_line(refused) == "Refused: version 4 is registered, version 3 stays in production: worse; unfair"
    first = refused.model_copy(update={"previous": None})
    assert "nothing is in production" in decision_line(first)


def test_what_the_dead_carry_in_a_line() -> None:
    line = expired_line(Expired(rows=365, share=0.0239, f1_without=0.5581), 0.5672)
    assert line.startswith(
        "365 of the test stays (2.4%) ended in death or hospice; without them F1 is 0.5581 (-0.0091)"
    )
