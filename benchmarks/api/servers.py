"""Servers under test: how to start them, and the format of their requests and responses."""

import http.client
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.api.machine import ONE_THREAD, pinned
from readmission.local.ports import LOOPBACK
from readmission.local.process import Child, Program, child_environment, start
from readmission.settings import PREFIX

Record = Mapping[str, str | int]
REPOSITORY = Path(__file__).resolve().parents[2]

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.1


def as_features(record: Record) -> dict[str, Any]:
    """A request body of the API."""
    return {"features": record}


def as_it_is(answer: Any) -> dict[str, Any]:
    """A response of the API."""
    return dict(answer)


@dataclass(frozen=True)
class Service:
    """One way to serve the model.

    Attributes:
        name: of the server in the result.
        command: command line; it listens on ``port``.
        port: TCP port.
        environment: additional variables.
        ready: path with status 200 once it serves.
        path: of predictions.
        ask: formats a record as a request body.
        read: converts a response to the format of the API.
    """

    name: str
    command: tuple[str, ...]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/ready"
    path: str = "/predict"
    ask: Callable[[Record], Any] = as_features
    read: Callable[[Any], dict[str, Any]] = as_it_is


@contextmanager
def running(service: Service, core: int, logs: Path) -> Iterator[Child]:
    """Run a server on one core from here to the end of the block."""
    child = launch(service, core, logs)
    try:
        _wait(service, child)
        yield child
    finally:
        end(child)


def launch(service: Service, core: int, logs: Path) -> Child:
    """Start a server; it does not answer yet."""
    variables = {**ONE_THREAD, "PYTHONPATH": str(REPOSITORY), **service.environment}
    return start(
        Program(
            name=service.name,
            command=pinned([core], service.command),
            environment=child_environment(without=(PREFIX,), **variables),
            folder=logs,
        ),
        logs,
    )


def end(child: Child) -> None:
    """Stop a server and what it has started."""
    child.stop(_STOP_SECONDS)
    with suppress(ProcessLookupError):  # its process group, which has no other processes
        os.killpg(child.pid, signal.SIGKILL)


def _wait(service: Service, child: Child) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(service.port, service.ready):
        if child.exit_code is not None or time.monotonic() > deadline:
            sys.exit(f"{service.name} does not start: {child.last_log_line()}")
        time.sleep(_POLL_SECONDS)


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def post(port: int, path: str, body: bytes, kind: str = "application/json") -> bytes:
    """POST once; return the body of the response, whose status must be 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60.0)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        sys.exit(f"{path} answers {answer.status}: {content[:300].decode(errors='replace')}")
    return content


def resident_mib(child: Child) -> float:
    """Resident memory of a server with all its processes, in MiB."""
    root = psutil.Process(child.pid)
    return sum(process.memory_info().rss for process in (root, *root.children(recursive=True))) / 2**20
