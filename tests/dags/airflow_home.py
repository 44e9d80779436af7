"""Airflow for tests: commands in processes of their own, for it changes logging and much else where it is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from readmission.registry.tracking import EXECUTION_TAG
from readmission.services import Services
from readmission.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent
DAGS = REPOSITORY / "dags"


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Variables for a command: Airflow's own below ``home``, nothing of the caller's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("READMISSION_", "AIRFLOW"))}
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "false",
        "PYTHONPATH": str(REPOSITORY / "src"),
    }
    return {**kept, **own, **variables}


def runs_of(services: Services, settings: Settings, execution: str) -> list[Run]:
    """All runs of an execution in MLflow."""
    client = MlflowClient(services.mlflow_url)
    experiment = client.get_experiment_by_name(settings.experiment)
    assert experiment is not None
    query = f"tags.`{EXECUTION_TAG}` = '{execution}'"
    return list(client.search_runs([experiment.experiment_id], query, max_results=100))


def run_script(name: str, variables: dict[str, str], *arguments: str, timeout: float = 900) -> dict[str, Any]:
    """Run a script of this folder; answer the JSON object of its last line, and all that it wrote as ``output``."""
    command = [sys.executable, str(SCRIPTS / name), *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "output": done.stdout + done.stderr}
