"""Airflow's services and two Celery workers on this machine, which share nothing but servers and the tasks' logs."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

import plain_http
from free_ports import free_port
from processes import descendants

WORKERS = ("worker-1", "worker-2")
PATIENCE = 120.0
HEARTBEAT_TIMEOUT = 12
"""Seconds without a sign of life after which a task is done again; Airflow's default of 300 would be a long test."""


@dataclass
class Cluster:
    """Airflow's services and workers, each a process group with a folder of its own.

    Attributes:
        folder: of the services' folders.
        variables: Airflow's environment on one machine.
        port, redis_port: of the API server, and of the broker.
        processes: those that run, by name.
    """

    folder: Path
    variables: dict[str, str]
    port: int = field(default_factory=free_port)
    redis_port: int = field(default_factory=free_port)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def home(self, worker: str) -> Path:
        """The platform's folder on a worker."""
        return self.folder / worker / "home"

    def start(self, name: str, *command: str) -> None:
        own = self.folder / name
        (own / "tmp").mkdir(parents=True)
        environment = self._environment(own)
        if name in WORKERS:
            del environment["AIRFLOW__API_AUTH__JWT_SECRET"]  # they get tokens, and shall sign none
        with (own / "output.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, cwd=own, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _environment(self, own: Path) -> dict[str, str]:
        """Airflow's environment for one service: CeleryExecutor, and folders that no other service has."""
        database = self.variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        changes = {
            "AIRFLOW_HOME": str(own),
            "TMPDIR": str(own / "tmp"),
            "READMISSION_HOME": str(own / "home"),
            # As in a store of logs, where they outlive the worker.
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": "32",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": "db+" + database.replace("+psycopg2", ""),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        }
        return {**self.variables, **changes}

    def kill(self, name: str) -> None:
        """As a machine that loses its power: the process and all its children at once."""
        process = self.processes.pop(name)
        for member in (psutil.Process(process.pid), *descendants(process.pid)):
            with contextlib.suppress(psutil.Error):
                member.kill()
        process.wait()

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(httpx.HTTPError):
                health = plain_http.get(f"{self.url}/api/v2/monitor/health").json()
                if all(health[name]["status"] == "healthy" for name in ("scheduler", "dag_processor")):
                    return
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)

    def logs(self) -> dict[str, str]:
        """The end of what each running service wrote."""
        return {
            name: (self.folder / name / "output.log").read_text(errors="replace")[-1500:] for name in self.processes
        }


@contextlib.contextmanager
def running_cluster(redis_server: str, variables: dict[str, str], folder: Path) -> Iterator[Cluster]:
    """Run Redis, Airflow's services, and two workers with one task each at a time.

    Args:
        redis_server: path of the program.
        variables: Airflow's environment on one machine.
        folder: an empty folder.
    """
    made = Cluster(folder, variables)
    python = (sys.executable, "-m", "airflow")
    try:
        made.start("redis", redis_server, "--port", str(made.redis_port), "--bind", "127.0.0.1",
                   "--save", "", "--appendonly", "no")  # fmt: skip
        made.start("api-server", *python, "api-server")
        made.start("scheduler", *python, "scheduler", "--skip-serve-logs")
        made.start("dag-processor", *python, "dag-processor")
        for name in WORKERS:
            made.start(name, *python, "celery", "worker", "--concurrency", "1", "--skip-serve-logs",
                       "--celery-hostname", f"{name}@%h", "--without-gossip", "--without-mingle")  # fmt: skip
        made.wait_until_healthy()
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)
