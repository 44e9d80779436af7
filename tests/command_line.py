"""Use the command line as a person does, in a process of its own or (faster) in this one, and see what it left."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from psycopg import sql

import plain_http
import readmission
from processes import ask, descendants, session_members
from readmission.cli import main as cli
from readmission.local import proxies
from readmission.local.api_server import settings_environment
from readmission.services import Services, resolve_services
from readmission.settings import PREFIX, Settings
from warm_command import WarmProcess

PATIENCE = 300.0
SOURCE = Path(readmission.__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object in the last line of standard output."""
        return json.loads(self.stdout.splitlines()[-1])

    @property
    def complaint(self) -> str:
        """The one line for people; fails unless there is exactly one, at the end, and nothing for programmers."""
        lines = self.stderr.splitlines()
        assert "Traceback" not in self.stderr, self.stderr
        assert [number for number, line in enumerate(lines) if line.startswith("readmission: ")] == [len(lines) - 1]
        return lines[-1].removeprefix("readmission: ")


@dataclass(frozen=True)
class CommandLine:
    """``readmission ...`` with given settings."""

    settings: Settings

    @property
    def services(self) -> Services:
        return resolve_services(self.settings)

    def environment(self, **changes: str) -> dict[str, str]:
        # The command line itself has to keep its calls of local services from a proxy.
        left_out = (PREFIX, "PYTHONDONT", *proxies.NAMES)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        own = {**settings_environment(self.settings), **{PREFIX + name: value for name, value in changes.items()}}
        return {**kept, **own, "PYTHONPATH": str(SOURCE), "COLUMNS": "200"}

    def start(self, *arguments: str, **changes: str) -> "Running":
        """Start it in a session of its own, as a terminal would."""
        process = subprocess.Popen(
            [sys.executable, "-m", "readmission", *arguments],
            env=self.environment(**changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Running(process)

    def start_warm(self, *arguments: str, **changes: str) -> "Running":
        """Start it with all libraries loaded, for those who kill it later; needs ``training_server``."""
        return Running(WarmProcess(arguments, self.environment(**changes)))

    def run(self, *arguments: str, **changes: str) -> Outcome:
        """Run it to its end."""
        with self.start(*arguments, **changes) as running:
            return running.finish()

    def invoke(self, *arguments: str, **changes: str) -> Outcome:
        """Run it to its end in this process, where all libraries are loaded already."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(PREFIX)]:
                patch.delenv(name)
            # Set, so that what the command line makes of them is undone too.
            cleared = dict.fromkeys(proxies.NAMES, "")
            for name, value in {**cleared, **self.environment(**changes)}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["readmission", *arguments])
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
                cli.main()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


class Running:
    """A command under way; a context manager that leaves nothing of it behind."""

    def __init__(self, process: "subprocess.Popen[str] | WarmProcess") -> None:
        self.process = process
        self.lines: list[str] = []

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*descendants(self.process.pid), *session_members(self.process.pid)]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()

    def wait_for_line(self, start: str, stream: str = "stderr") -> str:
        """Read progress until a line begins like this."""
        for line in getattr(self.process, stream):
            self.lines.append(line)
            if line.strip().startswith(start):
                return line
        raise AssertionError(f"ended without {start!r}: {''.join(self.lines)}")

    def interrupt(self) -> None:
        """Ctrl-C: the terminal signals the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self) -> Outcome:
        stdout, stderr = self.process.communicate(timeout=PATIENCE)
        return Outcome(self.process.returncode, stdout, "".join(self.lines) + stderr)


def has_training_process(process: psutil.Process) -> bool:
    """Whether a training process was forked from the server that this one has started for them."""
    return any(ask(process.children(), psutil.Process.children))


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_may_warn() -> Iterator[None]:
    """MLflow warns about its own type hints when its modules are read, and about a comparison of its own in pandas."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred")
        warnings.filterwarnings("ignore", "Operation with range")
        yield


@dataclass(frozen=True)
class World:
    """What others see: rows and content of every public table, and the version in production."""

    tables: Mapping[str, tuple[int, str]]
    production: str | None
    promotions: int


def look(services: Services, model_name: str) -> World:
    tables = {
        f"{database}.{name}": content
        for database, url in (("raw", services.raw_url), ("clean", services.clean_url))
        for name, content in _contents(url.get_secret_value())
    }
    with psycopg.connect(services.platform_url.get_secret_value()) as connection:
        found = connection.execute("SELECT to_regclass('promotions')").fetchone()
        row = connection.execute("SELECT count(*) FROM promotions").fetchone() if found and found[0] else (0,)
    return World(tables, production(services, model_name), row[0] if row else 0)


def _contents(url: str) -> Iterator[tuple[str, tuple[int, str]]]:
    query = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    digest = "SELECT count(*), sum(hash_record_extended(t, 0))::text FROM {} t"  # whatever the order of the rows
    with psycopg.connect(url) as connection:
        for (name,) in connection.execute(query).fetchall():
            row = connection.execute(sql.SQL(digest).format(sql.Identifier("public", name))).fetchone()
            assert row is not None
            yield name, (row[0], str(row[1]))


def production(services: Services, model_name: str) -> str | None:
    """The version that the alias names, by REST."""
    url = f"{services.mlflow_url}/api/2.0/mlflow/registered-models/alias"
    answer = plain_http.get(url, params={"name": model_name, "alias": "production"}, timeout=30)
    return str(answer.json()["model_version"]["version"]) if answer.status_code == httpx.codes.OK else None


def build_schemas(services: Services) -> list[str]:
    """Builds that were left in either database."""
    found: list[str] = []
    for url in (services.raw_url, services.clean_url):
        with psycopg.connect(url.get_secret_value()) as connection:
            found += [
                row[0] for row in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^build_'")
            ]
    return found
