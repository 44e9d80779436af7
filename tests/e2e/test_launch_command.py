"""``readmission run``: everything on this machine by one command, from nothing to answers, and again."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import plain_http
from command_line import CommandLine, Outcome, Running
from processes import all_gone, descendants, eventually
from readmission.schema import LABELS, RECORD_COLUMNS
from readmission.settings import Settings

OPTIONS = ("--data", "synthetic:3000", "--batches", "2", "--models", "decision_tree,gradient_boosting", "--no-report")
COMMAND = ("run", *OPTIONS)
EXAMPLE = {column.name: int(column.example) if column.is_number else column.example for column in RECORD_COLUMNS}
BODY = {"features": EXAMPLE}
REPOSITORY = Path(__file__).resolve().parents[2]
TYPED = ("Ask it", "Look into the databases")
"""Headings of the README whose commands are typed while everything runs."""

LAST_LINE = "Ctrl-C stops everything."


@dataclass
class Story:
    """What was seen of a first start, its end by Ctrl-C, a second start, and its end by ``kill -9``."""

    settings: Settings
    first: Outcome | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)
    model_info: dict[str, Any] = field(default_factory=dict)
    survivors: list[list[psutil.Process]] = field(default_factory=list)
    mlflow_was_up: bool = True
    typed: dict[str, Outcome] = field(default_factory=dict)
    second: Outcome | None = None
    rival: Outcome | None = None


def url(settings: Settings, path: str) -> str:
    return f"http://127.0.0.1:{settings.api_port}{path}"


def predict(settings: Settings) -> dict[str, Any] | None:
    """An answer, or None where nobody gives one yet."""
    with contextlib.suppress(httpx.HTTPError):
        answer = plain_http.post(url(settings, "/predict"), json=BODY, timeout=30)
        return dict(answer.json()) if answer.status_code == httpx.codes.OK else None
    return None


def type_block(cli: CommandLine, heading: str) -> Outcome:
    """Type the first block of commands below a heading of the README, with this stack's port and this environment."""
    text = (REPOSITORY / "README.md").read_text()
    block = re.search(rf"^## {re.escape(heading)}$.*?^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    script = block[1].replace("127.0.0.1:8000", f"127.0.0.1:{cli.settings.api_port}")
    script = script.replace("source .venv/bin/activate\n", "")
    environment = {**cli.environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=120)
    return Outcome(done.returncode, done.stdout, done.stderr)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(story: Story, running: Running) -> Outcome:
    children = descendants(running.process.pid)
    assert len(children) >= 4
    running.interrupt()
    outcome = running.finish()
    story.survivors.append([] if all_gone(children) else children)
    return outcome


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, new_settings: Callable[..., Settings]) -> Story:
    settings = new_settings(tmp_path_factory.mktemp("launch") / "home", workers=2, model_poll_seconds=0.5)
    story = Story(settings)
    cli = CommandLine(settings)
    with cli.start(*COMMAND) as running:
        running.wait_for_line(LAST_LINE, "stdout")
        assert eventually(lambda: predict(settings) is not None)
        story.answers.append(predict(settings) or {})
        story.model_info = plain_http.get(url(settings, "/model-info")).json()
        story.rival = cli.run("stack")
        story.typed = {name: type_block(cli, name) for name in TYPED}
        story.first = with_lines(running, end(story, running))
    with cli.start(*COMMAND) as running:
        assert eventually(lambda: predict(settings) is not None, 60)
        story.mlflow_was_up = listens(settings.mlflow_port)
        story.answers.append(predict(settings) or {})
        running.wait_for_line(LAST_LINE, "stdout")
        children = descendants(running.process.pid)
        assert len(children) > 6
        running.process.kill()
        story.survivors.append([] if all_gone(children) else children)
        story.second = with_lines(running, running.finish())
    return story


def with_lines(running: Running, outcome: Outcome) -> Outcome:
    return Outcome(outcome.code, "".join(running.lines) + outcome.stdout, outcome.stderr)


def test_the_table_marks_the_winner(story: Story) -> None:
    assert story.first is not None
    lines = story.first.stdout.splitlines()
    table = lines[next(place for place, line in enumerate(lines) if line.strip().startswith("4 models, best first")) :]
    rows = [line for line in table if "decision_tree" in line or "gradient_boosting" in line]
    models = [row for row in rows if not row.startswith("Winner:")]
    assert len(models) == 4
    assert len([row for row in models if "*" in row]) == 1
    assert "*" in models[0]


def test_every_figure_is_shown(story: Story) -> None:
    assert story.first is not None
    for name in ("train acc", "val acc", "train prec", "val rec", "val F1", "val AUC"):
        assert all(word in story.first.stdout for word in name.split())
    assert "…" not in story.first.stdout


def test_addresses_are_shown(story: Story) -> None:
    assert story.first is not None
    for port in (
        story.settings.api_port,
        story.settings.mlflow_port,
        story.settings.s3_port,
        story.settings.postgres_port,
    ):
        assert f"127.0.0.1:{port}" in story.first.stdout


def test_synthetic_data_is_said_loudly(story: Story) -> None:
    assert story.first is not None
    assert "SYNTHETIC DATA" in story.first.stdout
    assert "synthetic" in json.dumps(story.model_info)


def test_the_api_answers(story: Story) -> None:
    answer = story.answers[0]
    assert answer["readmission_prediction"] in LABELS


def test_the_second_start_serves_the_same_model_before_mlflow_is_up(story: Story) -> None:
    first, second = story.answers
    assert first == second
    assert not story.mlflow_was_up


def test_the_second_start_does_not_train(story: Story) -> None:
    assert story.first is not None
    assert story.second is not None
    assert "running the pipeline" in story.first.stdout
    assert "running the pipeline" not in story.second.stdout
    assert "Winner:" in story.second.stdout


def test_ctrl_c_ends_it_in_order(story: Story) -> None:
    assert story.first is not None
    assert story.survivors[0] == []
    assert story.first.code == 0
    assert "Traceback" not in story.first.stdout + story.first.stderr


def test_kill_9_takes_everything_along(story: Story) -> None:
    assert story.second is not None
    assert story.survivors[1] == []
    assert story.second.code == -9
    assert "Traceback" not in story.second.stdout + story.second.stderr
    assert not any(listens(port) for port in (story.settings.api_port, story.settings.postgres_port))


@pytest.mark.parametrize("heading", TYPED)
def test_the_readmes_commands_work(story: Story, heading: str) -> None:
    assert story.typed[heading].code == 0, story.typed[heading].stderr


def test_the_readmes_commands_show_what_is_there(story: Story) -> None:
    answer = json.loads(story.typed["Ask it"].stdout)
    assert answer["readmission_prediction"] in LABELS
    tables = story.typed["Look into the databases"].stdout
    for shown in ("train | ", "validation | ", "| published |"):
        assert shown.replace(" ", "") in tables.replace(" ", ""), tables


def test_a_second_owner_is_told_who_runs(story: Story) -> None:
    assert story.rival is not None
    assert story.rival.code == 3
    assert "already running (process " in story.rival.complaint


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(tmp_path / "home")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", settings.api_port))
        taken.listen()
        outcome = CommandLine(settings).run(*COMMAND)
    assert outcome.code == 3
    assert str(settings.api_port) in outcome.complaint
    assert "READMISSION_API_PORT" in outcome.complaint
