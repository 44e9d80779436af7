"""Bad input and services that are down, through the command line: one plain line, an exit code, nothing changed."""

import hashlib
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from command_line import CommandLine, Outcome, World, build_schemas, closed_port, look
from readmission.errors import ReadmissionError
from readmission.settings import Settings

RUN = ("pipeline", "run", "--batches", "1", "--models", "decision_tree")
Change = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def cli(platform: Settings, finished: Outcome) -> CommandLine:
    return CommandLine(platform)


@pytest.fixture(scope="module")
def seen(cli: CommandLine) -> list[World]:
    """The world as it was looked at last."""
    return [look(cli.services, cli.settings.model_name)]


@pytest.fixture
def unchanged(cli: CommandLine, seen: list[World]) -> Iterator[World]:
    """Fails a test that changed a table, the log of promotions or the version in production, or left a build."""
    before = seen[0]
    assert before.production == "1"
    yield before
    seen[0] = look(cli.services, cli.settings.model_name)
    assert seen[0] == before
    assert build_schemas(cli.services) == []


def edited(small_file: Path, target: Path, change: Change) -> Path:
    """A file with other lines; line 0 is the header."""
    lines = small_file.read_bytes().decode().split("\r\n")
    target.write_bytes("\r\n".join(change(lines)).encode())
    return target


def with_field(line: int, place: int, value: str) -> Change:
    def change(lines: list[str]) -> list[str]:
        fields = lines[line].split(",")
        fields[place] = value
        return [*lines[:line], ",".join(fields), *lines[line + 1 :]]

    return change


def without_last_column(lines: list[str]) -> list[str]:
    return [line.rpartition(",")[0] for line in lines]


def with_another_column(lines: list[str]) -> list[str]:
    return [f"{line},more" if line else line for line in lines]


def with_a_ragged_row(lines: list[str]) -> list[str]:
    return [*lines[:40], f"{lines[40]},surplus", *lines[41:]]


def with_an_encounter_twice(lines: list[str]) -> list[str]:
    return [*lines[:90], lines[7], *lines[90:]]


def nothing(_: list[str]) -> list[str]:
    return []


SECRET = "Q7SECRETVALUE"
BAD_FILES: dict[str, tuple[Change, str]] = {
    "missing column": (without_last_column, "column"),
    "extra column": (with_another_column, "column"),
    "unknown label": (with_field(12, 49, SECRET), "line 13"),
    "ragged row": (with_a_ragged_row, "line 41"),
    "non-numeric number": (with_field(30, 9, SECRET), "line 31"),
    "duplicate encounter": (with_an_encounter_twice, "encounter_id"),
    "empty file": (nothing, "empty"),
    "header only": (lambda lines: [lines[0], ""], "no rows"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file(cli: CommandLine, unchanged: World, small_file: Path, tmp_path: Path, kind: str) -> None:
    change, where = BAD_FILES[kind]
    outcome = cli.invoke(*RUN, "--data", str(edited(small_file, tmp_path / "given.csv", change)))
    assert outcome.code == 2
    assert "given.csv" in outcome.complaint
    assert where in outcome.complaint
    assert SECRET not in outcome.stderr


def test_a_line_names_its_column(cli: CommandLine, unchanged: World, small_file: Path, tmp_path: Path) -> None:
    path = edited(small_file, tmp_path / "given.csv", with_field(30, 9, SECRET))
    assert "time_in_hospital" in cli.invoke(*RUN, "--data", str(path)).complaint


def test_truncated_zip(cli: CommandLine, unchanged: World, small_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "given.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(small_file, "diabetic_data.csv")
    path.write_bytes(path.read_bytes()[:-4000])
    outcome = cli.invoke(*RUN, "--data", str(path))
    assert outcome.code == 2
    assert "given.zip" in outcome.complaint


def test_wrong_checksum(cli: CommandLine, unchanged: World, small_file: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(small_file, tmp_path / "given.csv"))
    outcome = cli.invoke(*RUN, "--data", str(path), DATA_SHA256="0" * 64)
    assert outcome.code == 2
    assert "0" * 64 in outcome.complaint
    assert hashlib.sha256(path.read_bytes()).hexdigest() in outcome.complaint


def test_directory(cli: CommandLine, unchanged: World, tmp_path: Path) -> None:
    outcome = cli.invoke(*RUN, "--data", str(tmp_path))
    assert outcome.code == 2
    assert "folder" in outcome.complaint


def test_no_such_file(cli: CommandLine, unchanged: World, tmp_path: Path) -> None:
    outcome = cli.run(*RUN, "--data", str(tmp_path / "absent.csv"))
    assert outcome.code == 2
    assert "absent.csv: no such file" in outcome.complaint


def test_unreachable_url(cli: CommandLine, unchanged: World) -> None:
    port = closed_port()
    outcome = cli.invoke(*RUN, "--data", f"http://127.0.0.1:{port}/given.zip")
    assert outcome.code == 3
    assert f"127.0.0.1:{port}" in outcome.complaint


def test_too_few_rows(cli: CommandLine, unchanged: World) -> None:
    outcome = cli.invoke(*RUN, "--data", "synthetic:5")
    assert outcome.code == 2
    assert "Too few rows" in outcome.complaint


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--models", "decision_tree,crystal_ball"], "--models"),
        (["--batches", "0"], "--batches"),
        (["--batch-size", "-5"], "--batch-size"),
        (["--batches", "2", "--batch-size", "100"], "not both"),
        (["--batches", "many"], "--batches"),
        (["--split", "hospital"], "--split"),
        (["--seed", "-1"], "--seed"),
        (["--speed", "9"], "--speed"),
        (["--data", "ftp://host/file"], "ftp"),
        (["--data", "synthetic:none"], "synthetic:ROWS"),
    ],
)
def test_bad_option(cli: CommandLine, unchanged: World, arguments: list[str], told: str) -> None:
    outcome = cli.invoke("pipeline", "run", *arguments)
    assert outcome.code == 2
    assert told in outcome.complaint


def test_unknown_variable(cli: CommandLine, unchanged: World) -> None:
    outcome = cli.run(*RUN, "--data", "synthetic:3000", BATCHES="7")
    assert outcome.code == 2
    assert "READMISSION_BATCHES" in outcome.complaint


def test_unknown_execution(cli: CommandLine, unchanged: World) -> None:
    outcome = cli.invoke("pipeline", "split", "--execution", "19700101_000000_000")
    assert outcome.code == 2
    assert "19700101_000000_000" in outcome.complaint


def test_a_stage_before_its_time(cli: CommandLine, new_platform: Callable[..., Settings]) -> None:
    fresh = CommandLine(new_platform())
    outcome = fresh.invoke("pipeline", "split")
    assert outcome.code == 2
    assert "pipeline download" in outcome.complaint
    assert fresh.invoke("pipeline", "download", "--data", "synthetic:3000").code == 0
    outcome = fresh.invoke("pipeline", "train")
    assert outcome.code == 2
    assert "pipeline plan" in outcome.complaint


def nowhere(cli: CommandLine, service: str) -> dict[str, str]:
    """The setting that points a service at a port where nobody listens."""
    port = closed_port()
    if service in ("MLFLOW", "S3"):
        return {f"{service}_URL": f"http://127.0.0.1:{port}"}
    url = getattr(cli.settings, f"{service.lower()}_database_url").get_secret_value()
    user, _, rest = url.partition("@")
    return {f"{service}_DATABASE_URL": f"{user}@127.0.0.1:{port}/{rest.rpartition('/')[2]}"}


@pytest.mark.parametrize("service", ["PLATFORM", "RAW", "CLEAN", "MLFLOW", "S3"])
def test_service_down(cli: CommandLine, unchanged: World, service: str) -> None:
    changes = nowhere(cli, service)
    started = time.monotonic()
    outcome = cli.invoke(*RUN, "--data", "synthetic:3000", **changes)
    assert time.monotonic() - started < 120  # it gives up
    assert outcome.code == 3
    (address,) = changes.values()
    assert address.rpartition("@")[2].removeprefix("http://") in outcome.complaint
    password = cli.settings.raw_database_url.get_secret_value().split(":")[2].split("@")[0]  # type: ignore[union-attr]
    assert password not in outcome.stderr


def test_mlflow_that_answers_but_is_broken(cli: CommandLine, unchanged: World) -> None:
    """Its own health page says nothing of its database; the tables must not be replaced before that is known."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # answers 501 to everything
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        outcome = cli.invoke(*RUN, "--data", "synthetic:3000", MLFLOW_URL=url)
        server.shutdown()
    assert outcome.code == 3
    assert f"MLflow at {url}: Server error '501" in outcome.complaint


def test_a_run_that_fails_late_is_failed_in_mlflow_too(
    new_platform: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = CommandLine(new_platform())
    monkeypatch.setattr("readmission.orchestration.model_stages.fit_sets", _refuse)
    outcome = fresh.invoke(*RUN, "--data", "synthetic:3000")
    assert outcome.complaint == "no training today"
    client = MlflowClient(fresh.settings.mlflow_url)
    experiment = client.get_experiment_by_name(fresh.settings.experiment)
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def _refuse(*_: object) -> list[object]:
    raise ReadmissionError("no training today")


def test_a_failed_run_leaves_no_running_run(cli: CommandLine, unchanged: World) -> None:
    client = MlflowClient(cli.settings.mlflow_url)
    experiment = client.get_experiment_by_name(cli.settings.experiment)
    assert experiment is not None
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED"}
