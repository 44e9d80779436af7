"""Train the grid, cumulative sets by model types, over processes that share out the cores.

Each process fits with one thread: whole fits side by side use the cores better than threads within a fit.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
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
from readmission.training.prepare import PreparedSet, prepare_set

Notify = Callable[[str, int, int], None]


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


def train_grid(pool: ProcessPoolExecutor, job: GridJob, notify: Notify) -> list[TrainedModel]:
    """Train every type on every set, the longest fits first.

    Args:
        pool: from ``workers.worker_pool``.
        job: the execution.
        notify: told of each finished task: what, done, total.

    Raises:
        ReadmissionError: a process died, or a service went away; whatever is under way is given up.
    """
    configs = sorted(job.plan.configs, key=lambda config: -config.rows)
    prepared = _gather({pool.submit(prepare, job, config): config.view for config in configs}, "prepared", notify)
    tasks = [(config, model_type) for config in configs for model_type in job.plan.model_types]
    tasks.sort(key=lambda task: -task[0].rows * RELATIVE_COST.get(task[1], max(RELATIVE_COST.values())))
    fits = {
        pool.submit(fit_and_log, job, config, prepared[config.view], model_type, 1): f"{config.view} {model_type}"
        for config, model_type in tasks
    }
    return list(_gather(fits, "trained", notify).values())


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


def _gather(futures: dict[Future[Any], str], verb: str, notify: Notify) -> dict[str, Any]:
    results: dict[str, Any] = {}
    try:
        with pool_errors():
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                notify(f"{verb} {futures[future]}", len(results), len(futures))
    finally:
        for future in futures:
            future.cancel()
    return results
