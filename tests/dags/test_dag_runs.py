"""The master DAG from its first to its last task, as ``dag.test()`` runs it, against the real stack."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_home import DAGS, run_script, runs_of
from mlflow import MlflowClient

from command_line import look, mlflow_may_warn
from readmission.errors import BadInputError, ReadmissionError
from readmission.orchestration import tasks
from readmission.orchestration.follow import follow
from readmission.registry.tracking import EXECUTION_TAG, SUPERSEDED_TAG, supersede_runs
from readmission.results import MODEL_TYPES
from readmission.services import Services, resolve_services
from readmission.settings import Settings

MASTER = "dag_00b_master_cumulative_pipeline"
BATCHES = 2


@dataclass(frozen=True)
class DagRun:
    """A finished run of the master DAG."""

    execution: str
    state: str
    tasks: list[dict[str, Any]]
    answers: dict[str, Any]
    output: str
    services: Services
    settings: Settings


@pytest.fixture(scope="module")
def run(airflow: Settings, variables: dict[str, str], real_stays: Path) -> DagRun:
    params = {"data": str(real_stays), "batches": BATCHES}
    found = run_script("run_dag.py", variables, str(DAGS), MASTER, json.dumps(params))
    return DagRun(
        tasks.execution_name(MASTER, found["run_id"]),
        found["state"],
        found["tasks"],
        found["answers"],
        found["output"],
        resolve_services(airflow),
        airflow,
    )


@pytest.fixture
def here(run: DagRun, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> DagRun:
    """The run, in a process that has the environment of a task."""
    for name, value in variables.items():
        if name.startswith("READMISSION_"):
            monkeypatch.setenv(name, value)
    return run


def test_every_task_succeeds(run: DagRun) -> None:
    assert run.state == "success"
    assert {task["state"] for task in run.tasks} == {"success"}
    counts = Counter(task["task_id"] for task in run.tasks)
    assert counts.pop("train_cumulative") == BATCHES
    assert set(counts.values()) == {1}


def test_mapped_tasks_are_shown_by_the_name_of_their_set(run: DagRun) -> None:
    shown = {task["name"] for task in run.tasks if task["task_id"] == "train_cumulative"}
    assert shown == {f"train_cumulative_{place}" for place in range(BATCHES)}


def test_the_training_configuration_is_printed_as_requested(run: DagRun) -> None:
    start = run.output.index("Generating Training Configurations")
    lines = [line.split("] ")[-1].strip() for line in run.output[start:].splitlines()[: BATCHES + 2]]
    assert lines[1].endswith(f"Number of cumulative datasets: {BATCHES}")
    rows = [int(line.split()[-3]) for line in lines[2:]]
    assert rows == sorted(rows)
    for place, (line, count) in enumerate(zip(lines[2:], rows, strict=True)):
        assert line.endswith(f"Config {place}: {count} records (train_cumulative_{place})")


def test_all_models_are_in_mlflow_and_the_best_is_in_production(run: DagRun) -> None:
    runs = runs_of(run.services, run.settings, run.execution)
    children = [found for found in runs if "mlflow.parentRunId" in found.data.tags]
    assert len(children) == BATCHES * len(MODEL_TYPES)
    assert {found.info.status for found in runs} == {"FINISHED"}
    published = run.answers["publish_best_model_production"]
    assert published["decision"] == "published"
    assert look(run.services, run.settings.model_name).production == str(published["version"])
    ranked = run.answers["aggregate_results"]
    assert (ranked["models"], ranked["missing"]) == (len(children), [])
    assert published["run_id"] == ranked["best"]["run_id"]


def test_what_tasks_tell_each_other_is_small(run: DagRun) -> None:
    assert all(len(str(answer)) < 4_000 for answer in run.answers.values())


STORING = (
    "split_train_val_test",
    "create_batch_tables",
    "create_cumulative_views",
    "store_validation_test",
    "clean_data",
)
"""Tasks that fill tables."""


@pytest.mark.parametrize("task", STORING)
def test_a_task_that_is_done_again_changes_nothing(here: DagRun, task: str) -> None:
    before = look(here.services, here.settings.model_name)
    again = tasks.run_task(task, here.execution)
    if task != "clean_data":  # which then counts rows only
        assert again == here.answers[task]
    assert look(here.services, here.settings.model_name) == before


def test_publishing_again_makes_no_second_version(here: DagRun) -> None:
    before = look(here.services, here.settings.model_name)
    with mlflow_may_warn():
        again = tasks.run_task("publish_best_model_production", here.execution)
    assert again == here.answers["publish_best_model_production"]
    assert look(here.services, here.settings.model_name) == before


def test_a_set_that_is_trained_again_takes_the_place_of_the_first_try(here: DagRun) -> None:
    (config,) = [found for found in here.answers["generate_training_configs"] if found["cumulative_idx"] == 0]
    first = runs_of(here.services, here.settings, here.execution)
    with mlflow_may_warn():
        again = tasks.run_task("train_cumulative", here.execution, config=config)
    assert again == {"view": config["view"], **{name: again[name] for name in MODEL_TYPES}}
    runs = runs_of(here.services, here.settings, here.execution)
    superseded = [found.info.run_id for found in runs if SUPERSEDED_TAG in found.data.tags]
    assert len(runs) == len(first) + len(MODEL_TYPES)
    assert {found.info.run_id for found in first} >= set(superseded)
    assert len(superseded) == len(MODEL_TYPES)
    assert tasks.run_task("aggregate_results", here.execution)["models"] == BATCHES * len(MODEL_TYPES)


def test_of_ten_sets_and_more_only_the_one_that_is_trained_again_is_superseded(run: DagRun) -> None:
    client = MlflowClient(run.services.mlflow_url)
    experiment = client.create_experiment(f"{run.settings.experiment} with many sets")
    tags = {EXECUTION_TAG: "many", "role": "model"}
    made = {place: client.create_run(experiment, tags=tags, run_name=f"cumulative_{place}_tree") for place in (1, 10)}
    assert supersede_runs(client, experiment, "many", 1) == 1
    found = {place: client.get_run(one.info.run_id) for place, one in made.items()}
    assert {place: one.info.status for place, one in found.items()} == {1: "KILLED", 10: "RUNNING"}
    assert {place: SUPERSEDED_TAG in one.data.tags for place, one in found.items()} == {1: True, 10: False}


def test_a_set_that_fails_fails_alone(run: DagRun, variables: dict[str, str]) -> None:
    """Its view lost a column; the DAG of this phase is started by hand and takes up the latest execution."""
    with psycopg.connect(run.services.clean_url.get_secret_value()) as connection:
        connection.execute("ALTER VIEW train_cumulative_1 RENAME COLUMN age TO lost")
    try:
        found = run_script("run_dag.py", variables, str(DAGS), "dag_05b_train_cumulative_batches", "{}")
    finally:
        with psycopg.connect(run.services.clean_url.get_secret_value()) as connection:
            connection.execute("ALTER VIEW train_cumulative_1 RENAME COLUMN lost TO age")
    states = {task["name"] or task["task_id"]: task["state"] for task in found["tasks"]}
    assert [name for name, state in states.items() if state != "success"] == ["train_cumulative_1"]
    ranked = found["answers"]["aggregate_results"]
    assert (ranked["models"], ranked["missing"]) == ((BATCHES - 1) * len(MODEL_TYPES), ["train_cumulative_1"])
    assert "left out: train_cumulative_1" in found["output"]
    assert found["state"] == "success"


def test_a_mistake_is_not_tried_again_and_publishes_nothing(run: DagRun, variables: dict[str, str]) -> None:
    before = look(run.services, run.settings.model_name)
    found = run_script("run_dag.py", variables, str(DAGS), MASTER, json.dumps({"data": "/no/such/file.csv"}))
    assert found["state"] == "failed"
    states = {task["task_id"]: (task["state"], task["tries"]) for task in found["tasks"]}
    assert states.pop("download_diabetes_dataset") == ("failed", 1)
    assert {state for state, _ in states.values()} == {"upstream_failed"}
    assert "/no/such/file.csv" in found["output"]
    assert look(run.services, run.settings.model_name) == before


def test_wrong_parameters_begin_nothing(here: DagRun) -> None:
    with pytest.raises(BadInputError, match="batches"):
        tasks.run_task("download_diabetes_dataset", "wrong", options={"batches": -1})
    with psycopg.connect(here.services.platform_url.get_secret_value()) as connection:
        found = connection.execute("SELECT count(*) FROM executions WHERE execution = 'wrong'").fetchone()
    assert found == (0,)


def test_an_api_that_serves_another_version_fails_the_follower(here: DagRun) -> None:
    with pytest.raises(ReadmissionError, match="serves version nothing"):
        follow(patience=1.0)


def test_without_any_set_there_is_nothing_to_rank(here: DagRun) -> None:
    with psycopg.connect(here.services.platform_url.get_secret_value()) as connection:
        connection.execute("DELETE FROM stage_results WHERE stage ~ '^train' AND execution = %s", [here.execution])
    with pytest.raises(ReadmissionError, match="No cumulative set was trained"):
        tasks.run_task("aggregate_results", here.execution)
