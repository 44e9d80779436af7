"""The model card of a finished run, as a person asks for it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from command_line import CommandLine, Outcome
from readmission.settings import Settings

FIGURES = ("learning_curve", "roc", "precision_recall", "calibration", "confusion", "slices", "importance")


@pytest.fixture(scope="module")
def cli(platform: Settings, finished: Outcome) -> CommandLine:
    return CommandLine(platform)


@pytest.fixture(scope="module")
def shown(cli: CommandLine) -> str:
    outcome = cli.invoke("model", "card")
    assert outcome.code == 0, outcome.stderr
    return outcome.stdout


def test_it_tells_what_people_ask(shown: str, platform: Settings) -> None:
    for part in (
        f"{platform.model_name}, version 1",
        "synthetic records: not for use on patients",
        "Intended use and limits",
        "How good it is",
        "Does more data help?",
        "Which type wins, and what the time buys",
        "For whom",
        "What it looks at",
        "CC BY 4.0",
        "ended in death or hospice",
    ):
        assert part in shown, part
    for name in ("logistic_regression", "decision_tree", "random_forest", "gradient_boosting"):
        assert f"{name}: " in shown


def test_it_is_stored_with_its_version(cli: CommandLine, platform: Settings, finished: Outcome) -> None:
    client = MlflowClient(platform.mlflow_url)
    files = client.list_artifacts(finished.summary["best"]["run_id"], "bundle/card")
    names = {Path(file.path).name for file in files}
    assert names == {"card.md", "card.html", *(f"{name}.png" for name in FIGURES)}


def test_the_page_stands_alone(cli: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "card.html"
    assert cli.invoke("model", "card", "1", "--html", str(page)).code == 0
    text = page.read_text()
    assert text.count("data:image/png;base64,") == len(FIGURES)
    assert 'src="' not in text.replace('src="data:', "")


@pytest.mark.parametrize("version", ["77", "none"])
def test_a_version_that_is_not_there(cli: CommandLine, version: str) -> None:
    outcome = cli.invoke("model", "card", version)
    assert outcome.code == 2
    assert f"has no version {version}" in outcome.complaint


def test_nothing_in_production(new_platform: Callable[..., Settings]) -> None:
    outcome = CommandLine(new_platform()).invoke("model", "card")
    assert outcome.code == 2
    assert "Nothing is in production" in outcome.complaint


def test_the_dead_can_be_left_out(new_platform: Callable[..., Settings]) -> None:
    cli = CommandLine(new_platform())
    arguments = ("--data", "synthetic:6000", "--batches", "1", "--models", "decision_tree", "--exclude-expired")
    outcome = cli.invoke("pipeline", "run", *arguments, "--objective", "macro_f1", "--json")
    assert outcome.code == 0, outcome.stderr
    card = cli.invoke("model", "card", "1").stdout
    assert "were left out" in card
    assert "macro_f1" in card


def test_tuned_parameters_reach_the_challenger(new_platform: Callable[..., Settings], tmp_path: Path) -> None:
    # One thread: on so few rows several lose most of their time waiting for each other.
    cli, path = CommandLine(new_platform(workers=1)), tmp_path / "tuning.json"
    early = cli.invoke("tune", "--minutes", "0", "--output", str(path))
    assert early.code == 2
    assert "No training rows are stored" in early.complaint
    options = ("--data", "synthetic:3000", "--batches", "1", "--models", "decision_tree", "--no-report")
    run = ("pipeline", "run", *options, "--json")
    assert cli.invoke(*run).code == 0
    tuned = cli.invoke("tune", "--minutes", "0", "--output", str(path))
    assert tuned.code == 0, tuned.stderr
    path.write_text(path.read_text().replace('"n_estimators": 400', '"n_estimators": 60'))
    outcome = cli.invoke(*run, "--challengers", "tuned_boosting", TUNING=str(path))
    assert outcome.code == 0, outcome.stderr
    assert outcome.summary["models"] == 2
    client = MlflowClient(cli.settings.mlflow_url)
    experiment = client.get_experiment_by_name(cli.settings.experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "params.model_type = 'tuned_boosting'")
    assert [run.data.params["n_estimators"] for run in runs] == ["60"]
