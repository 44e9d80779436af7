"""The master DAG from its first to its last task, once, over two Celery workers; one is killed while it trains."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import dag_run
import psycopg
import pytest
from airflow_home import runs_of
from celery_cluster import WORKERS, Cluster
from dag_run import DagRun
from mlflow import MlflowClient
from mlflow.entities import Run

from benchmarks.airflow_rest import AirflowRest, log_in
from command_line import look, mlflow_may_warn
from processes import eventually
from readmission.dataset.objects import ObjectStore
from readmission.errors import BadInputError, ReadmissionError
from readmission.local.airflow import USER, ensure_secrets
from readmission.orchestration import tasks
from readmission.orchestration.follow import follow
from readmission.registry.tracking import EXECUTION_TAG, SUPERSEDED_TAG, supersede_runs
from readmission.results import MODEL_TYPES
from readmission.services import Services, resolve_services
from readmission.settings import Settings

MASTER = "dag_00b_master_cumulative_pipeline"
TRAINING = "dag_05b_train_cumulative_batches"
BATCHES = 2
TRAINING_BEGINS = 300.0
"""Seconds within which a worker has to train."""


@dataclass(frozen=True)
class MasterRun(DagRun):
    """The run of the master DAG.

    Attributes:
        execution: its name.
        killed: name of the worker that was killed.
        interrupted: number of the set that it trained then.
        services, settings: of the platform.
    """

    execution: str
    killed: str
    interrupted: int
    services: Services
    settings: Settings


@pytest.fixture(scope="module")
def rest(cluster: Cluster, airflow: Settings) -> AirflowRest:
    made = AirflowRest(cluster.url, log_in(cluster.url, USER, ensure_secrets(airflow)["login"]))
    assert eventually(lambda: {MASTER, TRAINING} <= made.dags(), 60), made.import_errors()
    return made


@pytest.fixture(scope="module")
def run(cluster: Cluster, rest: AirflowRest, airflow: Settings, real_stays: Path) -> MasterRun:
    """The run when it has ended; the workers reach its data in S3."""
    services, key = resolve_services(airflow), "tests/celery/stays.csv"
    ObjectStore(services).put(real_stays, key)
    begun = dag_run.start(rest, MASTER, {"data": f"s3://{airflow.s3_bucket}/{key}", "batches": BATCHES})
    execution = tasks.execution_name(MASTER, begun.name)
    worker, place = who_trains(cluster, begun)
    # Its first model is in MLflow, or on the way there, when three more are to be fitted.
    assert eventually(lambda: bool(runs_of_set(services, airflow, execution, place)), 60), cluster.logs()
    cluster.kill(worker)
    assert begun.state == "success", begun.tasks
    return MasterRun(rest, MASTER, begun.name, execution, worker, place, services, airflow)


def who_trains(cluster: Cluster, begun: DagRun) -> tuple[str, int]:
    """Wait until a worker has arrays, which lie in a folder of its own; its name, and the number of the set."""
    found: list[tuple[str, int]] = []

    def some_do() -> bool:
        for worker in WORKERS:
            arrays = (cluster.home(worker) / "scratch").glob("*/*")
            found.extend((worker, int(array.parent.name.rpartition("_")[2])) for array in arrays)
        return bool(found)

    assert eventually(some_do, TRAINING_BEGINS), (begun.rest.tasks(MASTER, begun.name), cluster.logs())
    return found[0]


def runs_of_set(services: Services, settings: Settings, execution: str, place: int) -> list[Run]:
    """Runs in MLflow of the models of one set."""
    return [
        found
        for found in runs_of(services, settings, execution)
        if found.data.tags["role"] == "model" and found.info.run_name.startswith(f"cumulative_{place}_")
    ]


@pytest.fixture
def here(run: MasterRun, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> MasterRun:
    """The run, in a process that has the environment of a task."""
    for name, value in variables.items():
        if name.startswith("READMISSION_"):
            monkeypatch.setenv(name, value)
    return run


def test_every_task_succeeds(run: MasterRun) -> None:
    assert run.state == "success"
    assert {task["state"] for task in run.tasks} == {"success"}
    counts = Counter(task["task_id"] for task in run.tasks)
    assert counts.pop("train_cumulative") == BATCHES
    assert set(counts.values()) == {1}


def test_a_worker_that_is_killed_while_it_trains_loses_nothing(run: MasterRun, cluster: Cluster) -> None:
    assert run.killed not in cluster.processes
    assert all(cluster.home(worker).is_dir() for worker in WORKERS)  # each did tasks
    trained = [task for task in run.tasks if task["task_id"] == "train_cumulative"]
    tries = {task["rendered_map_index"]: task["try_number"] for task in trained}
    assert tries.pop(f"train_cumulative_{run.interrupted}") == 2
    assert list(tries.values()) == [1] * (BATCHES - 1)
    runs = runs_of(run.services, run.settings, run.execution)
    given_up = [found for found in runs if SUPERSEDED_TAG in found.data.tags]
    assert given_up
    assert {found.info.run_name.split("_")[1] for found in given_up} == {str(run.interrupted)}
    assert {found.info.status for found in given_up} <= {"FINISHED", "KILLED"}


def test_mapped_tasks_are_shown_by_the_name_of_their_set(run: MasterRun) -> None:
    shown = {task["rendered_map_index"] for task in run.tasks if task["task_id"] == "train_cumulative"}
    assert shown == {f"train_cumulative_{place}" for place in range(BATCHES)}


def test_the_training_configuration_is_printed_as_requested(run: MasterRun) -> None:
    lines = run.printed("generate_training_configs")
    assert len(lines) == BATCHES + 2
    assert lines[0] == "Generating Training Configurations"
    assert lines[1] == f"Number of cumulative datasets: {BATCHES}"
    rows = [int(line.split()[-3]) for line in lines[2:]]
    assert rows == sorted(rows)
    for place, (line, count) in enumerate(zip(lines[2:], rows, strict=True)):
        assert line.strip() == f"Config {place}: {count} records (train_cumulative_{place})"


def test_all_models_are_in_mlflow_and_the_best_is_in_production(run: MasterRun) -> None:
    runs = runs_of(run.services, run.settings, run.execution)
    standing = [found for found in runs if SUPERSEDED_TAG not in found.data.tags]
    children = [found for found in standing if "mlflow.parentRunId" in found.data.tags]
    assert len(children) == BATCHES * len(MODEL_TYPES)
    assert {found.data.tags["role"] for found in children} == {"model"}
    assert {found.info.status for found in standing} == {"FINISHED"}
    published = run.answers["publish_best_model_production"]
    assert published["decision"] == "published"
    world = look(run.services, run.settings.model_name)
    assert (world.production, world.promotions) == (str(published["version"]), 1)
    ranked = run.answers["aggregate_results"]
    assert (ranked["models"], ranked["missing"]) == (len(children), [])
    assert published["run_id"] == ranked["best"]["run_id"]


def test_what_tasks_tell_each_other_is_small(run: MasterRun) -> None:
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
def test_a_task_that_is_done_again_changes_nothing(here: MasterRun, task: str) -> None:
    before = look(here.services, here.settings.model_name)
    again = tasks.run_task(task, here.execution)
    if task != "clean_data":  # which then counts rows only
        assert again == here.answers[task]
    assert look(here.services, here.settings.model_name) == before


def test_publishing_again_makes_no_second_version(here: MasterRun) -> None:
    before = look(here.services, here.settings.model_name)
    with mlflow_may_warn():
        again = tasks.run_task("publish_best_model_production", here.execution)
    assert again == here.answers["publish_best_model_production"]
    assert look(here.services, here.settings.model_name) == before


def test_a_set_that_is_trained_again_takes_the_place_of_the_first_try(here: MasterRun) -> None:
    (config,) = [found for found in here.answers["generate_training_configs"] if found["cumulative_idx"] == 0]
    first = runs_of(here.services, here.settings, here.execution)
    with mlflow_may_warn():
        again = tasks.run_task("train_cumulative", here.execution, config=config)
    assert again == {"view": config["view"], **{name: again[name] for name in MODEL_TYPES}}
    runs = runs_of(here.services, here.settings, here.execution)
    superseded = [found.info.run_id for found in runs if SUPERSEDED_TAG in found.data.tags]
    assert len(runs) == len(first) + len(MODEL_TYPES)
    assert {found.info.run_id for found in first} >= set(superseded)
    before = [found for found in first if SUPERSEDED_TAG in found.data.tags]
    assert len(superseded) == len(before) + len(MODEL_TYPES)
    assert tasks.run_task("aggregate_results", here.execution)["models"] == BATCHES * len(MODEL_TYPES)


def test_of_ten_sets_and_more_only_the_one_that_is_trained_again_is_superseded(run: MasterRun) -> None:
    client = MlflowClient(run.services.mlflow_url)
    experiment = client.create_experiment(f"{run.settings.experiment} with many sets")
    tags = {EXECUTION_TAG: "many", "role": "model"}
    made = {place: client.create_run(experiment, tags=tags, run_name=f"cumulative_{place}_tree") for place in (1, 10)}
    assert supersede_runs(client, experiment, "many", 1) == 1
    found = {place: client.get_run(one.info.run_id) for place, one in made.items()}
    assert {place: one.info.status for place, one in found.items()} == {1: "KILLED", 10: "RUNNING"}
    assert {place: SUPERSEDED_TAG in one.data.tags for place, one in found.items()} == {1: True, 10: False}


def test_a_set_that_fails_fails_alone(run: MasterRun) -> None:
    """Its view lost a column; the DAG of this phase is started by hand and takes up the latest execution."""
    with psycopg.connect(run.services.clean_url.get_secret_value()) as connection:
        connection.execute("ALTER VIEW train_cumulative_1 RENAME COLUMN age TO lost")
    try:
        found = dag_run.start(run.rest, TRAINING, {})
        assert found.state == "success", found.tasks
    finally:
        with psycopg.connect(run.services.clean_url.get_secret_value()) as connection:
            connection.execute("ALTER VIEW train_cumulative_1 RENAME COLUMN lost TO age")
    states = {task["rendered_map_index"] or task["task_id"]: task["state"] for task in found.tasks}
    assert [name for name, state in states.items() if state != "success"] == ["train_cumulative_1"]
    ranked = found.answers["aggregate_results"]
    assert (ranked["models"], ranked["missing"]) == ((BATCHES - 1) * len(MODEL_TYPES), ["train_cumulative_1"])
    assert "left out: train_cumulative_1" in str(found.log("aggregate_results"))


def test_a_mistake_is_not_tried_again_and_publishes_nothing(run: MasterRun) -> None:
    before = look(run.services, run.settings.model_name)
    found = dag_run.start(run.rest, MASTER, {"data": "/no/such/file.csv"})
    assert found.state == "failed"
    states = {task["task_id"]: (task["state"], task["try_number"]) for task in found.tasks}
    assert states.pop("download_diabetes_dataset") == ("failed", 1)
    assert {state for state, _ in states.values()} == {"upstream_failed"}
    assert "/no/such/file.csv" in str(found.log("download_diabetes_dataset"))
    assert look(run.services, run.settings.model_name) == before


def test_wrong_parameters_begin_nothing(here: MasterRun) -> None:
    with pytest.raises(BadInputError, match="batches"):
        tasks.run_task("download_diabetes_dataset", "wrong", options={"batches": -1})
    with psycopg.connect(here.services.platform_url.get_secret_value()) as connection:
        found = connection.execute("SELECT count(*) FROM executions WHERE execution = 'wrong'").fetchone()
    assert found == (0,)


def test_an_api_that_serves_another_version_fails_the_follower(here: MasterRun) -> None:
    with pytest.raises(ReadmissionError, match="serves version nothing"):
        follow(patience=1.0)


def test_without_any_set_there_is_nothing_to_rank(here: MasterRun) -> None:
    with psycopg.connect(here.services.platform_url.get_secret_value()) as connection:
        connection.execute("DELETE FROM stage_results WHERE stage ~ '^train' AND execution = %s", [here.execution])
    with pytest.raises(ReadmissionError, match="No cumulative set was trained"):
        tasks.run_task("aggregate_results", here.execution)
