"""A command in a process of its own that has all libraries loaded already: forked from the server of the training."""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TextIO

from readmission.__main__ import run


class WarmProcess:
    """As much of ``subprocess.Popen`` as ``Running`` needs; the fixture ``training_server`` must be there.

    It differs from a command that a person types in nothing but its start: it leads a session of its own, signals reach
    it as they would, and its own training processes are as new as ever.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        context = get_context("forkserver")
        (out, out_end), (err, err_end) = context.Pipe(duplex=False), context.Pipe(duplex=False)
        self._process = context.Process(target=_become, args=(tuple(arguments), dict(environment), out_end, err_end))
        self._process.start()
        self.stdout, self.stderr = _reader(out), _reader(err)
        for end in (out_end, err_end):
            end.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or minus the signal that ended it."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their ends; the first is a summary, which fits into its pipe until it is read."""
        deadline = None if timeout is None else time.monotonic() + timeout
        err = "" if self.stderr.closed else self.stderr.read()
        out = "" if self.stdout.closed else self.stdout.read()
        self._process.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        self.stderr.close()
        self.stdout.close()
        return out, err


def _reader(connection: Connection) -> TextIO:
    stream = os.fdopen(os.dup(connection.fileno()), encoding="utf-8")
    connection.close()
    return stream


def _become(arguments: tuple[str, ...], environment: dict[str, str], out: Connection, err: Connection) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which the server of the training blocks
    for connection, number in ((out, 1), (err, 2)):
        os.dup2(connection.fileno(), number)
        connection.close()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["readmission", *arguments]
    run()
