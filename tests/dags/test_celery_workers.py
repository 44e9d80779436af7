"""The master DAG over two Celery workers that share nothing but servers; one is killed while it trains."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from airflow_home import runs_of

from benchmarks.airflow_rest import AirflowRest, log_in
from command_line import look
from free_ports import free_port
from processes import descendants
from readmission.dataset.objects import ObjectStore
from readmission.local.airflow import USER, ensure_secrets
from readmission.orchestration.tasks import execution_name
from readmission.registry.tracking import SUPERSEDED_TAG
from readmission.results import MODEL_TYPES
from readmission.services import resolve_services
from readmission.settings import Settings

MASTER = "dag_00b_master_cumulative_pipeline"
BATCHES = 2
PATIENCE = 600.0
HEARTBEAT_TIMEOUT = 12
"""Seconds without a sign of life after which a task is done again; Airflow's default of 300 would be a long test."""


@dataclass
class Cluster:
    """Airflow's services and workers, each a process group of its own."""

    url: str
    processes: dict[str, "subprocess.Popen[bytes]"]
    folder: Path

    def log(self, name: str) -> str:
        return (self.folder / name / "output.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """As a machine that loses its power: the process and all its children at once."""
        process = self.processes.pop(name)
        for member in (psutil.Process(process.pid), *descendants(process.pid)):
            with contextlib.suppress(psutil.Error):
                member.kill()
        process.wait()


def celery_environment(variables: dict[str, str], port: int, redis: int, folder: Path) -> dict[str, str]:
    """Airflow's environment for one service: CeleryExecutor, and folders that no other service has."""
    database = variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    url = f"http://127.0.0.1:{port}"
    own = {
        "AIRFLOW_HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "READMISSION_HOME": str(folder / "home"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "32",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": "db+" + database.replace("+psycopg2", ""),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    }
    return {**variables, **own}


@pytest.fixture(scope="module")
def cluster(
    airflow: Settings, variables: dict[str, str], redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    port, redis = free_port(), free_port()
    made = Cluster(f"http://127.0.0.1:{port}", {}, folder)

    def start(name: str, *command: str) -> None:
        own = folder / name
        (own / "tmp").mkdir(parents=True)
        environment = celery_environment(variables, port, redis, own)
        if name.startswith("worker"):
            del environment["AIRFLOW__API_AUTH__JWT_SECRET"]  # they get tokens, and shall sign none
        with (own / "output.log").open("wb") as log:
            made.processes[name] = subprocess.Popen(
                command,
                env=environment,
                cwd=own,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    python = (sys.executable, "-m", "airflow")
    try:
        start("redis", redis_server, "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        start("api-server", *python, "api-server")
        start("scheduler", *python, "scheduler", "--skip-serve-logs")
        start("dag-processor", *python, "dag-processor")
        for number in (1, 2):
            start(f"worker-{number}", *python, "celery", "worker", "--concurrency", "1", "--skip-serve-logs",
                  "--celery-hostname", f"worker-{number}@%h", "--without-gossip", "--without-mingle")  # fmt: skip
        _wait_until_healthy(made)
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)


def _wait_until_healthy(cluster: Cluster) -> None:
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(httpx.HTTPError):
            health = httpx.get(f"{cluster.url}/api/v2/monitor/health", trust_env=False).json()
            if all(health[name]["status"] == "healthy" for name in ("scheduler", "dag_processor")):
                return
        assert time.monotonic() < deadline, {name: cluster.log(name)[-1500:] for name in cluster.processes}
        time.sleep(0.5)


def test_a_worker_that_is_killed_while_it_trains_loses_nothing(
    cluster: Cluster, airflow: Settings, real_stays: Path
) -> None:
    services = resolve_services(airflow)
    key = "tests/celery/stays.csv"
    ObjectStore(services).put(real_stays, key)
    rest = AirflowRest(cluster.url, log_in(cluster.url, USER, ensure_secrets(airflow)["login"]))
    deadline = time.monotonic() + 60
    while MASTER not in rest.dags():
        assert time.monotonic() < deadline, rest.import_errors()
        time.sleep(0.5)
    rest.enable(MASTER)
    run = rest.trigger(MASTER, {"data": f"s3://{airflow.s3_bucket}/{key}", "batches": BATCHES, "no_report": True})
    homes = [cluster.folder / f"worker-{number}" / "home" for number in (1, 2)]

    def kill_one_that_trains() -> None:
        # Its arrays under way lie in a folder that no other worker has.
        if "worker-1" in cluster.processes and any((homes[0] / "scratch").glob("*/*")):
            cluster.kill("worker-1")

    ended = rest.wait(MASTER, run, PATIENCE, kill_one_that_trains)
    tasks = rest.tasks(MASTER, run)
    assert ended["state"] == "success", tasks
    assert "worker-1" not in cluster.processes
    assert all(home.is_dir() for home in homes)
    trained = [task for task in tasks if task["task_id"] == "train_cumulative"]
    assert [task["state"] for task in trained] == ["success"] * BATCHES
    assert sorted(task["try_number"] for task in trained) == [1] * (BATCHES - 1) + [2]

    runs = runs_of(services, airflow, execution_name(MASTER, run))
    models = [found for found in runs if found.data.tags["role"] == "model" and SUPERSEDED_TAG not in found.data.tags]
    assert len(models) == BATCHES * len(MODEL_TYPES)
    assert {found.info.status for found in models} == {"FINISHED"}
    assert "RUNNING" not in {found.info.status for found in runs}
    found = rest.answer(MASTER, run, "publish_best_model_production")
    assert found["decision"] in ("published", "refused")
    assert rest.answer(MASTER, run, "aggregate_results")["missing"] == []
    if found["decision"] == "published":
        assert look(services, airflow.model_name).production == str(found["version"])
    with psycopg.connect(services.platform_url.get_secret_value()) as connection:
        rows = connection.execute("SELECT count(*) FROM promotions").fetchone()
    assert rows is not None
    assert rows[0] >= 1
