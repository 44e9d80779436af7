"""The master DAG from its first to its last task, as ``dag.test()`` runs it, against the real stack."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_home import DAGS, run_script, runs_of

from command_line import look, mlflow_may_warn
from readmission import tasks
from readmission.errors import BadInputError, ReadmissionError
from readmission.registry.tracking import SUPERSEDED_TAG
from readmission.results import MODEL_TYPES
from readmission.services import Services, resolve_services
from readmission.settings import Settings

MASTER = "dag_00b_master_cumulative_pipeline"
BATCHES = 5


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


STORING = {
    "split": "split_train_val_test",
    "create_batch_tables": "create_batch_tables",
    "create_cumulative_views": "create_cumulative_views",
    "store_validation_test": "store_validation_test",
    "clean": "clean_data",
}
"""Steps that fill tables, and their tasks."""


@pytest.mark.parametrize("step", STORING)
def test_a_step_that_is_done_again_changes_nothing(here: DagRun, step: str) -> None:
    before = look(here.services, here.settings.model_name)
    again = getattr(tasks, step)(here.execution)
    if step != "clean":  # which then counts rows only
        assert again == here.answers[STORING[step]]
    assert look(here.services, here.settings.model_name) == before


def test_publishing_again_makes_no_second_version(here: DagRun) -> None:
    before = look(here.services, here.settings.model_name)
    with mlflow_may_warn():
        again = tasks.publish(here.execution)
    assert again["version"] == here.answers["publish_best_model_production"]["version"]
    assert look(here.services, here.settings.model_name).production == before.production


def test_a_set_that_is_trained_again_takes_the_place_of_the_first_try(here: DagRun) -> None:
    (config,) = [found for found in tasks.plan_training(here.execution) if found["cumulative_idx"] == 0]
    first = runs_of(here.services, here.settings, here.execution)
    with mlflow_may_warn():
        again = tasks.train(here.execution, config)
    assert again == {"view": config["view"], **{name: again[name] for name in MODEL_TYPES}}
    runs = runs_of(here.services, here.settings, here.execution)
    superseded = [found.info.run_id for found in runs if SUPERSEDED_TAG in found.data.tags]
    assert len(runs) == len(first) + len(MODEL_TYPES)
    assert {found.info.run_id for found in first} >= set(superseded)
    assert len(superseded) == len(MODEL_TYPES)
    assert tasks.aggregate(here.execution)["models"] == BATCHES * len(MODEL_TYPES)


def test_a_set_that_failed_is_named_and_the_others_are_ranked(here: DagRun) -> None:
    kept = _take_result(here, "train 3")
    try:
        ranked = tasks.aggregate(here.execution)
        assert (ranked["models"], ranked["missing"]) == ((BATCHES - 1) * len(MODEL_TYPES), ["train_cumulative_3"])
    finally:
        _give_result(here, "train 3", kept)
        tasks.aggregate(here.execution)


def test_without_any_set_there_is_nothing_to_rank(here: DagRun) -> None:
    stages = [f"train {place}" for place in range(BATCHES)]
    kept = {stage: _take_result(here, stage) for stage in stages}
    try:
        with pytest.raises(ReadmissionError, match="No cumulative set was trained"):
            tasks.aggregate(here.execution)
    finally:
        for stage, result in kept.items():
            _give_result(here, stage, result)


def test_wrong_parameters_begin_nothing(here: DagRun) -> None:
    with pytest.raises(BadInputError, match="batches"):
        tasks.download("wrong", {"batches": -1})
    with psycopg.connect(here.services.platform_url.get_secret_value()) as connection:
        found = connection.execute("SELECT count(*) FROM executions WHERE execution = 'wrong'").fetchone()
    assert found == (0,)


def test_an_api_that_serves_another_version_fails_the_follower(here: DagRun) -> None:
    with pytest.raises(ReadmissionError, match="serves version nothing"):
        tasks.follow(patience=1.0)


def _take_result(run: DagRun, stage: str) -> str:
    with psycopg.connect(run.services.platform_url.get_secret_value()) as connection:
        query = "DELETE FROM stage_results WHERE execution = %s AND stage = %s RETURNING result::text"
        found = connection.execute(query, [run.execution, stage]).fetchone()
    assert found is not None
    return str(found[0])


def _give_result(run: DagRun, stage: str, result: str) -> None:
    with psycopg.connect(run.services.platform_url.get_secret_value()) as connection:
        query = "INSERT INTO stage_results (execution, stage, result) VALUES (%s, %s, %s::jsonb)"
        connection.execute(query, [run.execution, stage, result])
