"""Apache Airflow on this machine: its secrets, settings, and four services as child processes.

Airflow's database is in the local stack's PostgreSQL. Tasks run as processes of the scheduler (LocalExecutor), one per
core, and each fits with one thread: parallel sets use the cores better than threads within a fit.
"""

import json
import os
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from readmission.errors import BadInputError, ServiceDownError
from readmission.local import http_probe
from readmission.local.api_server import settings_environment
from readmission.local.credentials import ensure_credentials, prepare_home
from readmission.local.interrupts import Interrupts
from readmission.local.ports import LOOPBACK, check_ports, settings_by_port
from readmission.local.postgres import create_owned_database
from readmission.local.process import Child, Program, child_environment, package_path
from readmission.local.supervise import Report, Service, Supervised, wait_until_ready
from readmission.settings import PREFIX, Settings

USER = "airflow"
DATABASE = "airflow_db"
ROLE = "airflow_user"
FOLDER = "airflow"
SECRETS_NAME = "airflow.json"
PASSWORDS_NAME = "passwords.json"

COMPONENTS = {
    "api-server": "metadatabase",
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}
"""Services, with their names in the response of ``/api/v2/monitor/health``."""

TASK_SECONDS = 3 * 60 * 60
"""Seconds until a task's token expires (`execution_api.jwt_expiration_time`); longer than the longest fit."""

_NAMES = ("database", "login", "jwt", "fernet", "session")
_PROBE_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
"""Between two looks at services that start: each takes the API server some of the processor that it starts with."""
_STOP_SECONDS = 20.0


def folder_of(settings: Settings) -> Path:
    """Folder of Airflow's logs and password file."""
    return prepare_home(settings) / FOLDER


def ensure_secrets(settings: Settings) -> dict[str, str]:
    """Read Airflow's secrets by name; generate them at the first start, with the login in Airflow's password file."""
    folder = folder_of(settings)
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / SECRETS_NAME
    if not path.exists():
        _write_private(path, {name: _make(name) for name in _NAMES})
    try:
        values = {str(name): str(value) for name, value in json.loads(path.read_text()).items()}
        missing = sorted(set(_NAMES) - values.keys())
    except (OSError, ValueError, AttributeError):
        raise BadInputError(f"{path} cannot be read: restore it from a backup") from None
    if missing:
        raise BadInputError(f"{path} lacks {', '.join(missing)}: restore it from a backup")
    _write_private(folder / PASSWORDS_NAME, {USER: values["login"]})
    return values


def _make(name: str) -> str:
    if name == "fernet":
        return urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(48 if name in ("jwt", "session") else 18)


def _write_private(path: Path, values: dict[str, str]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(values, file, indent=2)
    unfinished.replace(path)


def airflow_environment(settings: Settings, values: dict[str, str]) -> dict[str, str]:
    """Environment variables for Airflow on this machine, and for the platform in its tasks.

    Args:
        settings: of the platform.
        values: of ``ensure_secrets``.
    """
    folder = folder_of(settings)
    login = f"{ROLE}:{values['database']}@{LOOPBACK}:{settings.postgres_port}/{DATABASE}"
    url = f"http://{LOOPBACK}:{settings.airflow_port}"
    chosen = {
        "CORE__DAGS_FOLDER": str(settings.dags_folder.absolute()),
        "CORE__LOAD_EXAMPLES": "false",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(settings.workers),
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": str(max(16, settings.workers)),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "true",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__FERNET_KEY": values["fernet"],
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / PASSWORDS_NAME),
        "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{login}",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+psycopg://{login}",
        "API__HOST": LOOPBACK,
        "API__PORT": str(settings.airflow_port),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": values["session"],
        "API_AUTH__JWT_SECRET": values["jwt"],
        "EXECUTION_API__JWT_EXPIRATION_TIME": str(TASK_SECONDS),
        "LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # A file that changes is read at once; all of them every 30 seconds, the default, takes cores from the tasks.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "SCHEDULER__ENABLE_HEALTH_CHECK": "false",
        # A task may wait for a free core; its first token has to be valid until then.
        "SCHEDULER__TASK_QUEUED_TIMEOUT": str(TASK_SECONDS),
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "USAGE_DATA_COLLECTION__ENABLED": "false",
    }
    tasks = settings.model_copy(update={"workers": 1})
    platform = {**settings_environment(tasks), f"{PREFIX}WORKERS": "1"}
    return child_environment(
        without=(PREFIX, "AIRFLOW"),
        AIRFLOW_HOME=str(folder),
        **{f"AIRFLOW__{name}": value for name, value in chosen.items()},
        **platform,
        **package_path(),
    )


def migrate(settings: Settings, credentials: dict[str, str], values: dict[str, str]) -> None:
    """Create Airflow's database, or migrate it to this release of Airflow.

    Raises:
        ServiceDownError: the migration fails.
    """
    create_owned_database(settings, credentials, DATABASE, ROLE, values["database"])
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=airflow_environment(settings, values),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        # The last line of SQLAlchemy's message is a link; the cause is in the line before.
        reason = next((line for line in reversed(lines) if not line.startswith("(Background")), "no output")
        raise ServiceDownError(f"Airflow's database {DATABASE} cannot be created: {reason}")


class AirflowService:
    """One of Airflow's services.

    Args:
        settings: of the platform.
        values: of ``ensure_secrets``.
        component: one of ``COMPONENTS``.
    """

    def __init__(self, settings: Settings, values: dict[str, str], component: str) -> None:
        self._settings = settings
        self._values = values
        self._component = component
        self.name = f"airflow-{component}"
        self.title = f"Airflow's {component}"

    def ports(self) -> list[tuple[int, str]]:
        """Ports that it needs, with their settings."""
        taken = self._component == "api-server"
        return [(self._settings.airflow_port, "READMISSION_AIRFLOW_PORT")] if taken else []

    def program(self) -> Program:
        """How to run it."""
        # Logs are read from the folder that all four services share; a log server would listen on all interfaces.
        options = ("--skip-serve-logs",) if self._component in ("scheduler", "triggerer") else ()
        return Program(
            name=self.name,
            command=(sys.executable, "-m", "airflow", self._component, *options),
            environment=airflow_environment(self._settings, self._values),
            # Relative paths in settings are relative to the folder of the parent process.
            folder=Path.cwd(),
        )

    def is_ready(self, child: Child) -> bool:
        """Whether Airflow reports this service as healthy."""
        del child
        url = f"http://{LOOPBACK}:{self._settings.airflow_port}/api/v2/monitor/health"
        try:
            health = http_probe.get(url, _PROBE_SECONDS).json()
        except (httpx.HTTPError, ValueError):
            return False
        return bool(health.get(COMPONENTS[self._component], {}).get("status") == "healthy")

    def provision(self) -> None:
        """Nothing to create."""

    def may_retry(self, _log_line: str) -> bool:
        """Whether it ended for a temporary reason: never."""
        return False


def _descendants(pid: int) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    with suppress(psutil.Error):
        found = psutil.Process(pid).children(recursive=True)
    return found


class LocalAirflow:
    """Runs Airflow's services from ``start`` to ``stop``; a context manager for the main thread.

    Args:
        settings: of the platform, whose local stack is running.
        report: called with each line of progress.
        beside: other services, which have to keep running too.
    """

    def __init__(self, settings: Settings, report: Report, beside: Sequence[Service] = ()) -> None:
        self._settings = settings
        self._report = report
        self._beside = beside
        self._units: list[Supervised] = []
        self._password = ""

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
            BadInputError: the file of its secrets is not usable.
            ServiceDownError: the port is in use, or a service does not start.
        """
        settings, values = self._settings, ensure_secrets(self._settings)
        services: list[Service] = [AirflowService(settings, values, component) for component in COMPONENTS]
        services += self._beside
        check_ports(settings_by_port(pair for service in services for pair in service.ports()))
        self._report("Airflow's database is being prepared")
        migrate(settings, ensure_credentials(settings), values)
        self._password = values["login"]
        logs = prepare_home(settings) / "logs"
        self._units = [Supervised(service, logs, settings.start_timeout, self._report) for service in services]
        with ExitStack() as undo:
            undo.callback(self.stop)
            for unit in self._units:
                unit.spawn()
            wait_until_ready(self._units, _PAUSE_SECONDS)
            undo.pop_all()

    def stop(self) -> None:
        """Stop the services; running tasks are ended, and retried a minute after the next start."""
        running = [unit.child for unit in self._units if unit.child is not None]
        interrupts = Interrupts()
        interrupts.ignore()
        try:
            # Each task has its own process group, so a signal to the scheduler's group does not reach it.
            tasks = [task for child in running for task in _descendants(child.pid)]
            for child in running:
                child.ask_to_stop()
            for task in tasks:
                with suppress(psutil.Error):
                    task.terminate()
            for child in running:
                child.stop(_STOP_SECONDS)
            for task in tasks:
                with suppress(psutil.Error):
                    task.kill()
            self._units = []
        finally:
            interrupts.restore()

    def check(self) -> None:
        """Restart services that ended unexpectedly.

        Raises:
            ServiceDownError: a service has ended too often or does not start again.
        """
        for unit in self._units:
            unit.restart_if_ended()

    @property
    def pids(self) -> list[int]:
        """Process ids of the running services."""
        return [unit.child.pid for unit in self._units if unit.child is not None]

    def addresses(self) -> dict[str, str]:
        """Address and login."""
        return {
            "Airflow": f"http://{LOOPBACK}:{self._settings.airflow_port}",
            "Airflow login": f"{USER} / {self._password}",
        }
