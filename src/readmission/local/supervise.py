"""Supervise one service of the stack: start, wait until it answers, restart, stop."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from readmission.errors import ServiceDownError
from readmission.local.process import Child, Program, start

Report = Callable[[str], None]

MAX_RESTARTS = 3

_POLL_SECONDS = 0.02
_RETRY_SECONDS = 20.0
_RETRY_PAUSE_SECONDS = 0.3


class Service(Protocol):
    """The interface of a service."""

    @property
    def name(self) -> str:
        """Short name, also used for the log file."""

    @property
    def title(self) -> str:
        """Name in messages."""

    def ports(self) -> list[tuple[int, str]]:
        """Ports that it needs, with the setting of each."""

    def program(self) -> Program:
        """Prepare its files; return how to run it."""

    def is_ready(self, child: Child) -> bool:
        """Probe this child process once."""

    def provision(self) -> None:
        """Create what is missing inside the service (databases, buckets); may be repeated."""

    def may_retry(self, log_line: str, /) -> bool:
        """Whether a child that ended with this log line should be started again, for the cause is temporary."""


class Supervised:
    """A service and its child, which changes with every restart."""

    def __init__(self, service: Service, logs: Path, timeout: float, report: Report) -> None:
        self.service = service
        self.child: Child | None = None
        self._logs = logs
        self._timeout = timeout
        self._report = report
        self._spawned_at = 0.0
        self._restarts = 0

    def spawn(self) -> None:
        """Start the program; it does not answer yet."""
        program = self.service.program()
        self._spawned_at = time.monotonic()
        self.child = start(program, self._logs)

    def became_ready(self) -> bool:
        """Probe once; when it answers, provision it.

        Raises:
            ServiceDownError: its child ended, or it does not answer in time.
        """
        child = self._living_child()
        if not self.service.is_ready(child):
            self._check_time()
            return False
        self.service.provision()
        self._report(f"{self.service.title} is ready ({time.monotonic() - self._spawned_at:.1f} s)")
        return True

    def restart_if_ended(self) -> None:
        """Restart it if its child ended.

        Raises:
            ServiceDownError: it has ended too often, or does not start.
        """
        if self.child is None or self.child.exit_code is None:
            return
        if self._restarts == MAX_RESTARTS:
            raise ServiceDownError(f"{self.service.title} ended {MAX_RESTARTS + 1} times; {self._last_words()}")
        self._restarts += 1
        self._report(f"{self.service.title} ended unexpectedly: starting it again ({self._restarts} of {MAX_RESTARTS})")
        self.spawn()
        wait_until_ready([self])

    def _living_child(self) -> Child:
        if self.child is None:
            raise ServiceDownError(f"{self.service.title} has not been started")
        if self.child.exit_code is None:
            return self.child
        passed = time.monotonic() - self._spawned_at
        if passed > _RETRY_SECONDS or not self.service.may_retry(self.child.last_log_line()):
            raise ServiceDownError(f"{self.service.title} ended while it started; {self._last_words()}")
        return self._start_again()

    def _start_again(self) -> Child:
        time.sleep(_RETRY_PAUSE_SECONDS)
        self.child = start(self.service.program(), self._logs)
        return self.child

    def _check_time(self) -> None:
        if time.monotonic() - self._spawned_at > self._timeout:
            raise ServiceDownError(
                f"{self.service.title} does not answer after {self._timeout:.0f} s; {self._last_words()}"
            )

    def _last_words(self) -> str:
        if self.child is None:
            return "it left no log"
        return f"{self.child.log} ends with: {self.child.last_log_line() or 'nothing'}"


def wait_until_ready(units: Sequence[Supervised], pause: float = _POLL_SECONDS) -> None:
    """Poll services that are starting in parallel until each answers.

    Args:
        units: started.
        pause: seconds between two looks at all of them.

    There is no thread per service, since a child's parent-death signal depends on the thread that started it.

    Raises:
        ServiceDownError: a service ended or does not answer in time.
    """
    pending = list(units)
    while pending:
        pending = [unit for unit in pending if not unit.became_ready()]
        if pending:
            time.sleep(pause)
