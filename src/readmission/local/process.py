"""Child processes: start with a log file, watch, stop."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import readmission
from readmission.local.proxies import past_proxies

LAUNCHER = Path(__file__).with_name("child.py")

_LOG_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Program:
    """How to run one service.

    Attributes:
        name: of the service and its log file.
        command: absolute path of the executable and its arguments; no secrets, since every user can read it.
        environment: complete environment of the child; may hold secrets.
        folder: working directory; must exist.
        stop_signal: makes it end in order.
        death_signal: sent by the kernel when the parent process ends.
        identity: launcher options that drop root privileges.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    identity: tuple[str, ...] = field(default=())


class Child:
    """One running program; ``pid`` is the program's own, since the launcher executes it."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes], log: Path) -> None:
        self.program = program
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._process.poll()

    def last_log_line(self) -> str:
        """The last line of its log, for an error message; empty if there is none."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def listens_on(self, port: int) -> bool:
        """Whether this process listens on the TCP port, and no other program does."""
        try:
            connections = psutil.Process(self.pid).net_connections("tcp")
        except psutil.Error:
            return False
        return any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections)

    def ask_to_stop(self) -> None:
        """Send the stop signal if it still runs."""
        if self.exit_code is None:
            self._process.send_signal(self.program.stop_signal)

    def stop(self, patience: float) -> None:
        """Send the stop signal, wait, then kill it and its child processes.

        Args:
            patience: seconds to wait before it is killed.
        """
        self.ask_to_stop()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


def start(program: Program, logs: Path) -> Child:
    """Start a program whose output is appended to ``<logs>/<name>.log``. Call it from the main thread only.

    The child has its own process group, so that Ctrl-C in a terminal only reaches the parent process, which then stops
    its children in order.
    """
    logs.mkdir(mode=0o700, exist_ok=True)
    path = logs / f"{program.name}.log"
    path.touch(mode=0o600)
    with path.open("ab") as log:
        process = subprocess.Popen(
            launch_command(program),
            env=program.environment,
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            umask=0o077,
        )
    return Child(program, process, path)


def launch_command(program: Program) -> list[str]:
    """The command line of the launcher, with the program's command line at its end."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), "--parent", str(os.getpid())]
    return [*launcher, "--signal", program.death_signal.name, *program.identity, "--", *program.command]


def child_environment(*, without: tuple[str, ...] = (), **extra: str) -> dict[str, str]:
    """The environment of this process for a child.

    Args:
        without: prefixes of variables to leave out.
        extra: variables to set.
    """
    # With PYTHONDONTWRITEBYTECODE no bytecode is cached, and each start of MLflow takes seconds longer.
    left_out = ("PYTHONDONTWRITEBYTECODE", *without)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, **past_proxies(kept), **extra}


def serve_command(application: str, port: int, grace: int) -> tuple[str, ...]:
    """Command line that serves an ASGI application on the loopback address (``readmission.local.serve``).

    Args:
        application: ``module:name``.
        port: TCP port.
        grace: seconds to finish open requests when it stops.
    """
    module = (sys.executable, "-P", "-m", "readmission.local.serve")
    return (*module, "--port", str(port), "--grace", str(grace), application)


def package_path() -> dict[str, str]:
    """The variable with which a Python child process imports this same package, also from a source tree."""
    inherited = os.environ.get("PYTHONPATH")
    folders = [str(Path(readmission.__file__).parents[1]), *([inherited] if inherited else [])]
    return {"PYTHONPATH": os.pathsep.join(folders)}
