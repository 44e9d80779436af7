"""Train the grid, cumulative sets by model types, over processes that share out the cores.

Each process fits with one thread: whole fits side by side use the cores better than threads within a fit. One more
than the cores run, so that another fits whenever one waits for MLflow (measured: 9 % of the training). On large sets
that wait is nothing, and one more fit pushes the others' arrays out of the processor's caches and needs memory too.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readmission.errors import ReadmissionError
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.tracking import log_fit
from readmission.results import Plan, TrainedModel, TrainingConfig
from readmission.services import Services
from readmission.training.estimators import RELATIVE_COST
from readmission.training.fitting import fit
from readmission.training.preparation import PreparedSet, prepare_set

Notify = Callable[[str, int, int], None]

LARGE_ROWS = 150_000


@dataclass(frozen=True, slots=True)
class GridJob:
    """What every process must know.

    Attributes:
        services: where databases and MLflow are.
        execution: its name.
        plan: experiment, parent run and sets.
        tags: for every run in MLflow.
        scratch: folder for the arrays.
    """

    services: Services
    execution: str
    plan: Plan
    tags: dict[str, str]
    scratch: Path


def prepare(job: GridJob, config: TrainingConfig) -> PreparedSet:
    """Lay down the arrays of one cumulative set."""
    return prepare_set(job.services, config.view, job.scratch / config.view)


def fit_and_log(
    job: GridJob, config: TrainingConfig, prepared: PreparedSet, model_type: str, threads: int
) -> TrainedModel:
    """Fit one model and log it."""
    fitted = fit(prepared, model_type, job.plan.aim, threads, job.plan.tuned or None)
    with mlflow_errors(job.services):
        client = make_client(job.services)
        parent = (job.execution, job.plan.parent_run_id)
        return log_fit(client, job.plan.experiment_id, parent, config, model_type, prepared, fitted, job.tags)


@dataclass(frozen=True, slots=True)
class _Task:
    """One call for the pool, on so many rows."""

    name: str
    rows: int
    work: Callable[..., Any]
    arguments: tuple[object, ...]


def train_grid(pool: ProcessPoolExecutor, cores: int, job: GridJob, notify: Notify) -> list[TrainedModel]:
    """Train every type on every set, the longest fits first.

    Args:
        pool: from ``workers.worker_pool``.
        cores: that may be busy at once; the pool has one process more.
        job: the execution.
        notify: told of each finished task: what, done, total.

    Raises:
        ReadmissionError: a process died, or a service went away; whatever is under way is given up.
    """
    configs = sorted(job.plan.configs, key=lambda config: -config.rows)
    sets = [_Task(config.view, config.rows, prepare, (job, config)) for config in configs]
    prepared = _gather(pool, cores, sets, "prepared", notify)
    grid = [(config, model_type) for config in configs for model_type in job.plan.model_types]
    grid.sort(key=lambda task: -task[0].rows * RELATIVE_COST.get(task[1], max(RELATIVE_COST.values())))
    fits = [
        _Task(
            f"{config.view} {model_type}", config.rows, fit_and_log, (job, config, prepared[config.view], model_type, 1)
        )
        for config, model_type in grid
    ]
    return list(_gather(pool, cores, fits, "trained", notify).values())


@contextmanager
def pool_errors() -> Iterator[None]:
    """Turn the death of a process into one line.

    Raises:
        ReadmissionError: a process of the pool died.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise ReadmissionError(
            "A training process died (out of memory?): run again with fewer READMISSION_WORKERS"
        ) from error


def _gather(pool: ProcessPoolExecutor, cores: int, tasks: Sequence[_Task], verb: str, notify: Notify) -> dict[str, Any]:
    results: dict[str, Any] = {}
    waiting = deque(tasks)
    running: dict[Future[Any], _Task] = {}
    try:
        with pool_errors():
            while waiting or running:
                while waiting and len(running) < _side_by_side(cores, waiting[0]):
                    task = waiting.popleft()
                    running[pool.submit(task.work, *task.arguments)] = task
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future).name
                    results[name] = future.result()
                    notify(f"{verb} {name}", len(results), len(tasks))
    finally:
        for future in running:
            future.cancel()
    return results


def _side_by_side(cores: int, task: _Task) -> int:
    return cores if task.rows > LARGE_ROWS else cores + 1
