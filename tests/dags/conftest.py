"""Airflow on the session's stack: its settings, its database, and 6,000 stays of the real file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from airflow_home import DAGS
from celery_cluster import Cluster, running_cluster

from free_ports import free_port
from readmission.local.airflow import DATABASE, ROLE, airflow_environment, ensure_secrets
from readmission.local.credentials import ensure_credentials
from readmission.local.postgres import create_owned_database
from readmission.settings import Settings

ROWS = 6_000
CELERY_DATABASE = "airflow_celery_db"


@pytest.fixture(scope="module")
def airflow(stack: Settings, new_platform: Callable[..., Settings]) -> Settings:
    """A platform of its own below the stack's home, where the passwords are."""
    return new_platform(
        home=stack.home,
        postgres_port=stack.postgres_port,
        airflow_port=free_port(),
        api_port=free_port(),
        dags_folder=DAGS,
        model_poll_seconds=1,
        start_timeout=240,  # on a machine that does other work too
    )


@pytest.fixture(scope="module")
def variables(airflow: Settings) -> dict[str, str]:
    """Airflow's environment, with a database beside that of ``make airflow``, where another test's runs would go on."""
    values = ensure_secrets(airflow)
    create_owned_database(airflow, ensure_credentials(airflow), CELERY_DATABASE, ROLE, values["database"])
    made = airflow_environment(airflow, values)
    for name in ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"):
        made[name] = made[name].removesuffix(DATABASE) + CELERY_DATABASE
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=made, check=True, capture_output=True)
    return made


@pytest.fixture(scope="session")
def real_stays(real_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the real file."""
    path = tmp_path_factory.mktemp("stays") / "stays.csv"
    with real_csv.open() as source:
        path.write_text("".join(islice(source, ROWS + 1)))
    return path


@pytest.fixture(scope="session")
def redis_server() -> str:
    """Debian's Redis; under CI it is installed where it is missing."""
    if shutil.which("redis-server") is None:
        if not os.environ.get("CI"):
            pytest.skip("redis-server is missing: apt-get install redis-server")
        subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
        # Debian would start a server of its own, which nobody here asks.
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "redis-server"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "RUNLEVEL": "1"})
    found = shutil.which("redis-server")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def cluster(
    redis_server: str, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Two Celery workers; ends with the module, before another one starts Airflow on the same database."""
    with running_cluster(redis_server, variables, tmp_path_factory.mktemp("cluster")) as running:
        yield running
