"""The local stack: one process runs PostgreSQL, S3, MLflow and, if requested, the API."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from readmission.errors import ServiceDownError
from readmission.local.api_server import ApiServer
from readmission.local.credentials import ensure_credentials, prepare_home
from readmission.local.interrupts import Interrupts
from readmission.local.lock import StackLock, is_locked
from readmission.local.mlflow_server import MlflowServer
from readmission.local.ports import check_ports, settings_by_port
from readmission.local.postgres import Postgres
from readmission.local.process import Child
from readmission.local.s3 import S3
from readmission.local.supervise import Report, Service, Supervised, wait_until_ready
from readmission.settings import Settings

_WATCH_SECONDS = 0.5
_STOP_SECONDS = 10.0
_LEFTOVER_SECONDS = 20.0


def _silent(_: str) -> None:
    """A report that does nothing."""


class LocalStack:
    """Runs the services from ``start`` to ``stop``; a context manager for the main thread.

    If this process is killed, the kernel ends its children, and the next start recovers their data.
    """

    def __init__(
        self,
        settings: Settings,
        report: Report = _silent,
        *,
        api: bool = False,
        on_databases: Callable[[], object] = lambda: None,
    ) -> None:
        """Create the stack without starting it.

        Args:
            settings: ports and state folder.
            report: called with each line of progress.
            api: also run the prediction API; it starts first and serves its cached model while the others start.
            on_databases: called as soon as the databases exist, while the other services start; also after a restart.
        """
        self._settings = settings
        self._report = report
        self._with_api = api
        self._on_databases = on_databases
        self._lock = StackLock(settings)
        self._units: dict[str, Supervised] = {}
        self._interrupts = Interrupts()

    @property
    def children(self) -> dict[str, Child]:
        """The running children by name: ``postgres``, ``s3``, ``mlflow``, ``api``."""
        return {name: unit.child for name, unit in self._units.items() if unit.child is not None}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start all services and return when every one answers.

        Raises:
            BadInputError: the state folder or its credentials are not usable, or two settings need the same port.
            ServiceDownError: another process owns the state folder, a port is in use, or a service does not start.
        """
        prepare_home(self._settings)
        left_behind = self._lock.acquire()
        self._interrupts.install()
        with ExitStack() as undo:  # if starting fails or is interrupted, the services that run already are stopped
            undo.callback(self.stop)
            services = self._services(ensure_credentials(self._settings))
            _check_ports(services, _LEFTOVER_SECONDS if left_behind else 0.0)
            self._start_services(services)
            self._interrupts.check()
            undo.pop_all()

    def stop(self) -> None:
        """Stop the services in reverse order and release the state folder."""
        self._interrupts.ignore()
        try:
            for group in (["api"], ["mlflow"], ["s3", "postgres"]):
                self._stop_group(group)
            self._units.clear()
            self._lock.release()
        finally:
            self._interrupts.restore()

    def check(self) -> None:
        """Restart services that ended unexpectedly.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM came, and whoever it reached first has swallowed it.
            ServiceDownError: a service has ended too often or does not start again.
        """
        self._interrupts.check()
        for unit in self._units.values():
            unit.restart_if_ended()

    def wait(self) -> None:
        """Keep the services running until SIGINT or SIGTERM.

        Raises:
            ServiceDownError: see ``check``.
        """
        with suppress(KeyboardInterrupt):
            while True:
                self.check()
                time.sleep(_WATCH_SECONDS)

    def _services(self, credentials: dict[str, str]) -> list[Service]:
        settings = self._settings
        stores: list[Service] = [Postgres(settings, credentials, self._on_databases), S3(settings, credentials)]
        first: list[Service] = [ApiServer(settings)] if self._with_api else []
        return [*first, *stores, MlflowServer(settings, credentials)]

    def _start_services(self, services: Sequence[Service]) -> None:
        logs = prepare_home(self._settings) / "logs"
        units = [Supervised(service, logs, self._settings.start_timeout, self._report) for service in services]
        self._units = {unit.service.name: unit for unit in units}
        mlflow = self._units["mlflow"]
        first = [unit for unit in units if unit is not mlflow]
        # Importing MLflow takes seconds of one core: do it while the stores start, but not while the API starts.
        early, late = (first, [mlflow]) if self._with_api else (units, [])
        for unit in early:
            unit.spawn()
        wait_until_ready(first)
        for unit in late:
            unit.spawn()
        # Now, since its first response needs the database.
        wait_until_ready([mlflow])

    def _stop_group(self, names: Sequence[str]) -> None:
        running = [child for name, child in self.children.items() if name in names]
        for child in running:
            child.ask_to_stop()
        for child in running:
            child.stop(_STOP_SECONDS)


def is_running(settings: Settings) -> bool:
    """Whether a running process owns the stack of this state folder; it may still be starting its services."""
    return is_locked(settings)


def _check_ports(services: Sequence[Service], patience: float) -> None:
    ports = settings_by_port(pair for service in services for pair in service.ports())
    deadline = time.monotonic() + patience
    while True:
        try:
            check_ports(ports)
        except ServiceDownError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_WATCH_SECONDS)
        else:
            return
