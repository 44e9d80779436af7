"""The grid over processes: every model once, errors as one line, and a dead process is noticed."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import psutil
import pytest

from command_line import CommandLine, Outcome, eventually, is_alive
from readmission.context import Context
from readmission.dataset.source_file import Dataset
from readmission.errors import ReadmissionError, ServiceDownError
from readmission.orchestration import stages as pipeline
from readmission.orchestration.parallel_training import LARGE_ROWS, GridJob, _gather, _Task, train_grid
from readmission.orchestration.process_pool import worker_pool
from readmission.results import Options, TrainingConfig
from readmission.services import resolve_services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import store as platform_db

TYPES = ("decision_tree", "gradient_boosting")


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with worker_pool(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def job(platform: Settings, finished: Outcome, tmp_path_factory: pytest.TempPathFactory) -> GridJob:
    """The finished execution's sets, trained once more into an experiment of its own."""
    services = resolve_services(platform)
    with connect(services.platform_url) as connection:
        stored = platform_db.load_result(connection, finished.summary["execution"], "download")
    dataset = Dataset.model_validate(stored)
    settings = platform.model_copy(update={"experiment": f"{platform.experiment}_grid"})
    context = Context(settings, services, finished.summary["execution"])
    plan = pipeline.plan_training(context, dataset, Options(models=TYPES))
    return GridJob(services, "grid", plan, pipeline.data_tags(dataset), tmp_path_factory.mktemp("scratch"))


def test_each_type_on_each_set(pool: ProcessPoolExecutor, job: GridJob) -> None:
    told: list[tuple[str, int, int]] = []
    models = train_grid(pool, 2, job, lambda what, done, total: told.append((what, done, total)))
    assert sorted((model.cumulative_idx, model.model_type) for model in models) == [
        (number, kind) for number in (0, 1) for kind in TYPES
    ]
    assert {model.rows for model in models} == {config.rows for config in job.plan.configs}
    assert [done for _, done, _ in told] == [1, 2, 1, 2, 3, 4]
    assert [what.split()[0] for what, _, _ in told] == ["prepared"] * 2 + ["trained"] * 4


def test_a_missing_view_is_an_error(pool: ProcessPoolExecutor, job: GridJob) -> None:
    config = TrainingConfig(cumulative_idx=9, view="train_cumulative_9", rows=1)
    plan = job.plan.model_copy(update={"configs": (config,)})
    with pytest.raises(Exception, match="train_cumulative_9"):
        train_grid(pool, 2, GridJob(job.services, "grid", plan, {}, job.scratch), lambda *_: None)


def test_a_service_that_goes_away_is_one_line(pool: ProcessPoolExecutor, job: GridJob) -> None:
    gone = job.services.model_copy(update={"clean_url": job.services.raw_url})
    nowhere = gone.clean_url.get_secret_value().rpartition("@")[0] + "@127.0.0.1:9/clean"
    services = job.services.model_copy(update={"clean_url": type(gone.clean_url)(nowhere)})
    with pytest.raises(ServiceDownError, match=r"^PostgreSQL at 127\.0\.0\.1:9/clean"):
        train_grid(pool, 2, GridJob(services, "grid", job.plan, {}, job.scratch), lambda *_: None)


def test_a_process_that_died_is_reported() -> None:
    with worker_pool(1) as own, pytest.raises(ReadmissionError, match="READMISSION_WORKERS"):
        _gather(own, 1, [_Task("fit", 1, os._exit, (9,))], "trained", lambda *_: None)


class Together:
    """How many calls run at once."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def work(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.02)
        with self._lock:
            self._now -= 1


@pytest.mark.parametrize(("rows", "most"), [(LARGE_ROWS, 3), (LARGE_ROWS + 1, 2)])
def test_large_fits_run_on_the_cores_and_small_ones_beside_them(rows: int, most: int) -> None:
    together = Together()
    tasks = [_Task(str(number), rows, together.work, ()) for number in range(8)]
    told: list[int] = []
    with ThreadPoolExecutor(3) as threads:
        done = _gather(threads, 2, tasks, "trained", lambda _, count, __: told.append(count))
    assert together.most == most
    assert len(done) == 8
    assert told == list(range(1, 9))


def test_workers_end_with_the_pool() -> None:
    with worker_pool(1) as own:
        worker = own.submit(os.getpid).result()
        assert psutil.pid_exists(worker)
    assert eventually(lambda: not is_alive(psutil.Process(worker)) if psutil.pid_exists(worker) else True)


def test_a_process_that_dies_in_a_run_changes_nothing_in_production(
    new_platform: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = CommandLine(new_platform())
    monkeypatch.setattr("readmission.orchestration.stages.train_grid", _die)
    outcome = cli.invoke("pipeline", "run", "--data", "synthetic:3000", "--batches", "1", "--models", "decision_tree")
    assert outcome.code == 1
    assert "A training process died" in outcome.complaint


def _die(pool: ProcessPoolExecutor, *_: object) -> list[object]:
    return list(_gather(pool, 1, [_Task("fit", 1, os._exit, (9,))], "trained", lambda *_: None).values())
