"""Training over processes: every model once, errors as one line, and a dead process is noticed."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import psutil
import pytest

from command_line import CommandLine, Outcome, mlflow_may_warn
from processes import eventually, is_alive
from readmission.context import Context
from readmission.dataset.source_file import Dataset
from readmission.errors import ReadmissionError, ServiceDownError
from readmission.orchestration import model_stages as pipeline
from readmission.orchestration.execution import load
from readmission.orchestration.executors import LARGE_ROWS, FitExecutor, InlineExecutor, one_by_one, side_by_side
from readmission.orchestration.parallel_training import (
    Notify,
    TrainingJob,
    _gather,
    _Task,
    fit_sets,
    prepare_sets,
)
from readmission.orchestration.process_pool import worker_pool
from readmission.results import Models, Options, TrainingConfig
from readmission.services import resolve_services
from readmission.settings import Settings

TYPES = ("decision_tree", "gradient_boosting")


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with worker_pool(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def job(platform: Settings, finished: Outcome, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    """The finished execution's sets, trained once more into an experiment of its own."""
    services = resolve_services(platform)
    dataset = load(Context(platform, services, finished.summary["execution"]), "download", Dataset)
    settings = platform.model_copy(update={"experiment": f"{platform.experiment}_grid"})
    context = Context(settings, services, finished.summary["execution"])
    plan = pipeline.plan(context, dataset, Options(models=TYPES))
    return TrainingJob(services, "grid", plan, pipeline.data_tags(dataset), tmp_path_factory.mktemp("scratch"))


def train(
    executor: FitExecutor, job: TrainingJob, configs: Sequence[TrainingConfig], notify: Notify = lambda *_: None
) -> dict[int, Models]:
    """Both halves of the training, as the step calls them."""
    with mlflow_may_warn():
        return fit_sets(executor, job, configs, prepare_sets(executor, job, configs, notify), notify)


@pytest.mark.parametrize("where", ["in the pool", "here"])
def test_each_type_on_each_set(pool: ProcessPoolExecutor, job: TrainingJob, where: str) -> None:
    executor = side_by_side(pool, 2) if where == "in the pool" else one_by_one(2)
    reported: list[tuple[str, int, int]] = []
    trained = train(executor, job, job.plan.configs, lambda *step: reported.append(step))
    assert {number: [model.model_type for model in one.models] for number, one in trained.items()} == {
        0: list(TYPES), 1: list(TYPES),
    }  # fmt: skip
    models = [model for one in trained.values() for model in one.models]
    assert [model.cumulative_idx for model in models] == [0, 0, 1, 1]
    assert {model.rows for model in models} == {config.rows for config in job.plan.configs}
    assert [done for _, done, _ in reported] == [1, 2, 1, 2, 3, 4]
    assert [what.split()[0] for what, _, _ in reported] == ["prepared"] * 2 + ["trained"] * 4


def test_here_only_the_sets_that_were_asked_for_are_trained_and_the_longest_fit_is_the_first(job: TrainingJob) -> None:
    reported: list[str] = []
    trained = train(one_by_one(2), job, job.plan.configs[1:], lambda what, *_: reported.append(what))
    assert list(trained) == [1]
    assert reported == [
        "prepared train_cumulative_1",
        "trained train_cumulative_1 gradient_boosting",
        "trained train_cumulative_1 decision_tree",
    ]


def test_a_missing_view_is_an_error(pool: ProcessPoolExecutor, job: TrainingJob) -> None:
    config = TrainingConfig(cumulative_idx=9, view="train_cumulative_9", rows=1)
    plan = job.plan.model_copy(update={"configs": (config,)})
    with pytest.raises(Exception, match="train_cumulative_9"):
        train(side_by_side(pool, 2), TrainingJob(job.services, "grid", plan, {}, job.scratch), plan.configs)


def test_a_service_that_goes_away_is_one_line(pool: ProcessPoolExecutor, job: TrainingJob) -> None:
    gone = job.services.model_copy(update={"clean_url": job.services.raw_url})
    nowhere = gone.clean_url.get_secret_value().rpartition("@")[0] + "@127.0.0.1:9/clean"
    services = job.services.model_copy(update={"clean_url": type(gone.clean_url)(nowhere)})
    with pytest.raises(ServiceDownError, match=r"^PostgreSQL at 127\.0\.0\.1:9/clean"):
        train(side_by_side(pool, 2), TrainingJob(services, "grid", job.plan, {}, job.scratch), job.plan.configs)


def test_a_process_that_died_is_reported() -> None:
    with worker_pool(1) as own, pytest.raises(ReadmissionError, match="READMISSION_WORKERS"):
        _gather(side_by_side(own, 1), [_Task("fit", 1, os._exit, (9,))], "trained", lambda *_: None)


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
    counts: list[int] = []
    with ThreadPoolExecutor(3) as threads:
        executor = FitExecutor(threads, threads=1, slots=2, spare_slots=1)
        done = _gather(executor, tasks, "trained", lambda _, count, __: counts.append(count))
    assert together.most == most
    assert len(done) == 8
    assert counts == list(range(1, 9))


def test_calls_in_this_process_run_one_after_the_other_and_raise_their_own_errors() -> None:
    together = Together()
    done = _gather(
        one_by_one(2), [_Task(str(number), 1, together.work, ()) for number in range(3)], "", lambda *_: None
    )
    assert (together.most, len(done)) == (1, 3)
    assert InlineExecutor().submit(threading.get_ident).result() == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        _gather(one_by_one(2), [_Task("fit", 1, divmod, (1, 0))], "trained", lambda *_: None)


def test_workers_end_with_the_pool() -> None:
    with worker_pool(1) as own:
        worker = own.submit(os.getpid).result()
        assert psutil.pid_exists(worker)
    assert eventually(lambda: not is_alive(psutil.Process(worker)) if psutil.pid_exists(worker) else True)


def test_a_process_that_dies_in_a_run_changes_nothing_in_production(
    new_platform: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = CommandLine(new_platform())
    monkeypatch.setattr("readmission.orchestration.model_stages.fit_sets", _die)
    outcome = cli.invoke("pipeline", "run", "--data", "synthetic:3000", "--batches", "1", "--models", "decision_tree")
    assert outcome.code == 1
    assert "A training process died" in outcome.complaint


def _die(executor: FitExecutor, *_: object) -> list[object]:
    return list(_gather(executor, [_Task("fit", 1, os._exit, (9,))], "trained", lambda *_: None).values())
