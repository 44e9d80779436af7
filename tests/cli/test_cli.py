"""The command line itself: help, options, exit codes; what commands do is tested in ``e2e``."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from command_line import SOURCE, CommandLine, Running
from processes import all_gone, descendants
from readmission.cli import main as cli
from readmission.errors import BadInputError, ServiceDownError
from readmission.local import proxies
from readmission.local.lock import lock_path
from readmission.settings import Settings

STAGES = ("download", "split", "store", "clean", "plan", "train", "select", "publish")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line changes these in its own process, here that of the tests: afterwards they are as before."""
    for name in proxies.NAMES:
        monkeypatch.setenv(name, "")


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("READMISSION_")}
    environment = {**kept, "PYTHONPATH": str(SOURCE), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "readmission", *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_help_lists_every_stage() -> None:
    shown = command("pipeline", "--help")
    assert shown.returncode == 0
    assert all(f" {stage} " in shown.stdout for stage in ("run", *STAGES))


def test_help_of_a_run_names_every_option() -> None:
    shown = command("pipeline", "run", "--help").stdout
    for option in ("--data", "--batch-size", "--batches", "--split", "--seed", "--models", "--json"):
        assert option in shown


@pytest.mark.parametrize("arguments", [(), ("pipeline",), ("pipeline", "run"), ("serve",)])
def test_the_short_option_shows_the_same_help(arguments: tuple[str, ...]) -> None:
    shown = command(*arguments, "-h")
    assert shown.returncode == 0
    assert shown.stdout == command(*arguments, "--help").stdout


def test_the_version_is_that_of_the_package() -> None:
    shown = command("--version")
    assert (shown.returncode, shown.stdout) == (0, f"readmission {version('readmission')}\n")


def test_no_arguments_show_the_help() -> None:
    shown = command()
    assert shown.returncode == 2
    assert "Usage: " in shown.stdout + shown.stderr
    assert "readmission: " not in shown.stderr


def test_bad_options_cost_no_time_to_load_libraries() -> None:
    code = (
        "import sys; sys.argv = ['readmission', 'pipeline', 'run', '--batches', '0']\n"
        "from readmission.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'mlflow', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadInputError("x.csv: line 3"), 2, "readmission: x.csv: line 3\n"),
        (ServiceDownError("S3 at here"), 3, "readmission: S3 at here\n"),
        (KeyboardInterrupt(), 130, "readmission: interrupted\n"),
        (typer.Exit(3), 3, ""),
        (OSError(28, "No space left on device", "/full/file"), 2, "readmission: /full/file: No space left on device\n"),
        (PermissionError(13, "Permission denied"), 2, "readmission: Permission denied\n"),
        (OSError("strange\nindeed"), 2, "readmission: strange\n"),
        (OSError(), 2, "readmission: OSError\n"),
    ],
)
def test_errors_become_a_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("readmission.local.doctor.examine", lambda settings: fail())
    monkeypatch.setattr(sys, "argv", ["readmission", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (code, line)


def failed_import(cause: BaseException) -> ImportError:
    """What a compiled module raises when something else is raised while it loads."""
    error = ImportError("initialization failed")
    error.__cause__ = RuntimeError("in a module that it imports")
    error.__cause__.__context__ = cause
    return error


def test_an_import_that_is_interrupted_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Settings) -> None:
        raise failed_import(KeyboardInterrupt())

    monkeypatch.setattr("readmission.local.doctor.examine", fail)
    monkeypatch.setattr(sys, "argv", ["readmission", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "readmission: interrupted\n")


def test_an_import_that_fails_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Settings) -> None:
        raise failed_import(OSError("a library is missing"))

    monkeypatch.setattr("readmission.local.doctor.examine", fail)
    monkeypatch.setattr(sys, "argv", ["readmission", "doctor"])
    with pytest.raises(ImportError):
        cli.main()


def test_an_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("readmission.local.doctor.examine", fail)
    monkeypatch.setattr(sys, "argv", ["readmission", "doctor"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_reader_that_went_away_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "readmission", "pipeline", "run", "--help"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        errors = process.stderr.read()
    process.wait(60)
    assert "Traceback" not in errors


def test_doctor_of_a_running_platform(platform: Settings) -> None:
    outcome = CommandLine(platform).invoke("doctor")
    assert outcome.code in (0, 3)
    assert "MLflow" in outcome.stdout
    assert "Traceback" not in outcome.stderr


def test_psql_opens_a_database(stack: Settings) -> None:
    outcome = CommandLine(stack).run("psql", "platform", "-tAc", "SELECT current_database()")
    assert (outcome.code, outcome.stdout) == (0, "platform_db\n")


def test_stack_ends_with_ctrl_c_while_it_starts(new_settings: Callable[..., Settings], tmp_path: Path) -> None:
    own = new_settings(tmp_path / "home")
    with CommandLine(own).start("stack") as running:
        running.wait_for_line("PostgreSQL is ready", "stdout")
        os.kill(running.process.pid, signal.SIGINT)
        outcome = running.finish()
    assert outcome.code in (130, -signal.SIGINT)
    assert outcome.complaint == "interrupted"


@pytest.mark.parametrize("moment", ["at the start", "when all is ready"])
def test_stack_ends_with_a_parent_that_is_killed(
    new_settings: Callable[..., Settings], tmp_path: Path, moment: str
) -> None:
    """As make is killed: it could pass no signal on."""
    own = new_settings(tmp_path / "home")
    script = '"$0" -m readmission stack --end-with-parent $$; true'
    with Running(
        subprocess.Popen(
            ["/bin/sh", "-c", script, sys.executable],
            env=CommandLine(own).environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    ) as running:
        running.wait_for_line(
            "PostgreSQL is ready" if moment == "at the start" else "Ctrl-C stops everything", "stdout"
        )
        below = descendants(running.process.pid)
        assert len(below) > 3
        running.process.kill()
        assert all_gone(below)
    assert lock_path(own).read_text() == "", "it was stopped in order"


@pytest.mark.parametrize("name", ["run", "stack"])
def test_a_command_whose_parent_is_gone_does_not_start(name: str) -> None:
    outcome = command(name, "--end-with-parent", str(os.getppid()))
    assert (outcome.returncode, outcome.stderr) == (1, "the parent ended before its child started\n")


@pytest.mark.parametrize("name", ["run", "stack"])
def test_the_help_keeps_quiet_about_parents(name: str) -> None:
    assert "parent" not in command(name, "--help").stdout
