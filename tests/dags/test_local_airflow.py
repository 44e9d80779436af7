"""Airflow on this machine, as ``make airflow`` starts it: its login, its DAGs, and the chain of their assets."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest

import plain_http
from api_process import api_process
from benchmarks.airflow_rest import AirflowRest, log_in
from command_line import look
from processes import ask, descendants, listening
from readmission.local.airflow import USER, LocalAirflow, ensure_secrets
from readmission.local.api_server import settings_environment
from readmission.results import MODEL_TYPES
from readmission.services import resolve_services
from readmission.settings import PREFIX, Settings

TRAINING = "dag_05b_train_cumulative_batches"
CHAIN = (
    "dag_01_download_data",
    "dag_02b_create_batches",
    "dag_03b_store_batched_raw_data",
    "dag_04_clean_data",
    TRAINING,
    "dag_06b_select_best_cumulative_model",
    "dag_07_publish_to_production",
    "dag_09_follow_production",
)
ASSETS = ("data", "assignment", "batches", "clean", "models", "selection", "production")
PATIENCE = 420.0


@dataclass(frozen=True)
class Chained:
    """What the chain left behind.

    Attributes:
        ended: states of the last DAG's runs.
        served: version that the API served then.
    """

    ended: list[str]
    served: str


@pytest.fixture(scope="module")
def running(airflow: Settings) -> Iterator[LocalAirflow]:
    with LocalAirflow(airflow, print) as started:
        yield started


@pytest.fixture(scope="module")
def rest(running: LocalAirflow, airflow: Settings) -> AirflowRest:
    url = running.addresses()["Airflow"]
    made = AirflowRest(url, log_in(url, USER, ensure_secrets(airflow)["login"]))
    deadline = time.monotonic() + 60
    while not set(CHAIN) <= made.dags():
        assert time.monotonic() < deadline, made.import_errors()
        time.sleep(0.5)
    return made


def test_only_the_login_that_was_generated_is_let_in(running: LocalAirflow, airflow: Settings) -> None:
    url = running.addresses()["Airflow"]
    assert running.addresses()["Airflow login"] == f"{USER} / {ensure_secrets(airflow)['login']}"
    for password in ("airflow", "admin", ""):
        with pytest.raises(httpx.HTTPStatusError, match=r"40[01]"):
            log_in(url, USER, password)
    assert plain_http.get(f"{url}/api/v2/dags").status_code == 401


def test_nothing_listens_beyond_this_machine(running: LocalAirflow) -> None:
    for pid in running.pids:
        for process in [psutil.Process(pid), *descendants(pid)]:
            for places in ask([process], listening):
                assert {address for address, _ in places} <= {"127.0.0.1"}, (process, places)


@pytest.fixture(scope="module")
def chained(rest: AirflowRest, airflow: Settings) -> Chained:
    """The chain from its first DAG to the last, with an API that follows."""
    for dag in CHAIN:
        rest.enable(dag)
    variables = {name.removeprefix(PREFIX).lower(): value for name, value in settings_environment(airflow).items()}
    del variables["home"]
    with api_process(airflow.home, airflow.api_port, wait=False, **variables) as api:
        rest.trigger(CHAIN[0], {"data": "synthetic:3000", "batches": 1, "no_report": True})
        deadline = time.monotonic() + PATIENCE
        while not (ended := [run for run in rest.runs(CHAIN[-1]) if run["state"] in ("success", "failed")]):
            states = {dag: [run["state"] for run in rest.runs(dag)] for dag in CHAIN}
            assert not any("failed" in found for found in states.values()), states
            assert time.monotonic() < deadline, states
            time.sleep(2)  # nine questions, each of which takes the API server's time from the tasks
        served = plain_http.get(f"{api.url}/ready").json()["model_version"]
    return Chained([run["state"] for run in ended], served)


def test_the_dags_of_the_phases_start_each_other(chained: Chained, rest: AirflowRest, airflow: Settings) -> None:
    assert chained.ended == ["success"]
    production = look(resolve_services(airflow), airflow.model_name).production
    assert chained.served == production
    assert [len(rest.runs(dag)) for dag in CHAIN] == [1] * len(CHAIN)
    events = {name: rest.asset_events(f"readmission://pipeline/{name}")[-1]["extra"] for name in ASSETS}
    assert len({event["execution"] for event in events.values()}) == 1
    assert events["models"]["models"] == len(MODEL_TYPES)
    assert 0 < events["selection"]["test_f1_score"] < 1
    decided = events["production"]
    assert (decided["decision"], str(decided["version"])) == ("published", production)


def test_nothing_goes_on_after_the_end(chained: Chained, rest: AirflowRest, running: LocalAirflow) -> None:
    """Also what a task has started, which leads a process group of its own: here the chain's execution trains again."""
    run = rest.trigger(TRAINING, {})
    deadline = time.monotonic() + PATIENCE
    while not any(
        task["task_id"] == "train_cumulative" and task["state"] == "running" for task in rest.tasks(TRAINING, run)
    ):
        assert time.monotonic() < deadline, rest.tasks(TRAINING, run)
        time.sleep(0.5)
    processes = [psutil.Process(pid) for pid in running.pids]
    family = [*processes, *(child for pid in running.pids for child in descendants(pid))]
    running.stop()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
