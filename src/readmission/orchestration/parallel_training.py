"""Train every type of model on cumulative sets over an executor, the longest fits first."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readmission.orchestration.executors import FitExecutor
from readmission.orchestration.process_pool import pool_errors
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.tracking import log_fit
from readmission.results import Models, Plan, TrainedModel, TrainingConfig
from readmission.services import Services
from readmission.training.estimators import RELATIVE_COST
from readmission.training.fitting import fit
from readmission.training.preparation import PreparedSet, prepare_set

Notify = Callable[[str, int, int], None]
"""Receives what was finished, how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What every process needs to know.

    Attributes:
        services: where databases and MLflow are.
        execution: its name.
        plan: experiment, parent run, types of models.
        tags: for every run in MLflow.
        scratch: folder for the arrays.
    """

    services: Services
    execution: str
    plan: Plan
    tags: Mapping[str, str]
    scratch: Path

    def arrays(self, config: TrainingConfig) -> Path:
        """Folder for the arrays of one set; no other task writes into it, even one of the same execution."""
        return self.scratch / f"{self.execution}.{config.view}"


def prepare_sets(
    executor: FitExecutor, job: TrainingJob, configs: Sequence[TrainingConfig], notify: Notify
) -> dict[str, PreparedSet]:
    """Read cumulative sets and write their arrays to files, from which every fit maps them into its memory.

    Args:
        executor: where.
        job: the execution.
        configs: the sets.
        notify: called for each set.

    Returns:
        the sets by the names of their views.

    Raises:
        ReadmissionError: a process died, or a service went away; whatever is under way is given up.
    """
    tasks = [_Task(config.view, config.rows, _prepare, (job, config)) for config in _largest_first(configs)]
    return _gather(executor, tasks, "prepared", notify)


def fit_sets(
    executor: FitExecutor,
    job: TrainingJob,
    configs: Sequence[TrainingConfig],
    prepared: Mapping[str, PreparedSet],
    notify: Notify,
) -> dict[int, Models]:
    """Fit every type on every set, and log each model to MLflow.

    Args:
        executor: where.
        job: the execution.
        configs: the sets.
        prepared: their arrays, by view.
        notify: called for each model.

    Returns:
        the models of each set, by its number, in the order of the plan's types.

    Raises:
        ReadmissionError: a process died, or a service went away; whatever is under way is given up.
    """
    pairs = [(config, model_type) for config in _largest_first(configs) for model_type in job.plan.model_types]
    pairs.sort(key=lambda pair: -pair[0].rows * RELATIVE_COST.get(pair[1], max(RELATIVE_COST.values())))
    tasks = [
        _Task(_name(*pair), pair[0].rows, _fit_and_log, (job, *pair, prepared[pair[0].view], executor.threads))
        for pair in pairs
    ]
    fitted = _gather(executor, tasks, "trained", notify)
    return {
        config.cumulative_idx: Models(models=tuple(fitted[_name(config, kind)] for kind in job.plan.model_types))
        for config in configs
    }


def _largest_first(configs: Sequence[TrainingConfig]) -> list[TrainingConfig]:
    return sorted(configs, key=lambda config: -config.rows)


def _name(config: TrainingConfig, model_type: str) -> str:
    return f"{config.view} {model_type}"


def _prepare(job: TrainingJob, config: TrainingConfig) -> PreparedSet:
    return prepare_set(job.services, config.view, job.arrays(config))


def _fit_and_log(
    job: TrainingJob, config: TrainingConfig, model_type: str, prepared: PreparedSet, threads: int
) -> TrainedModel:
    fitted = fit(prepared, model_type, job.plan.aim, threads, job.plan.tuned or None)
    with mlflow_errors(job.services):
        client = make_client(job.services)
        parent = (job.execution, job.plan.parent_run_id)
        return log_fit(client, job.plan.experiment_id, parent, config, model_type, prepared, fitted, job.tags)


@dataclass(frozen=True, slots=True)
class _Task:
    """One call for the executor, on so many rows."""

    name: str
    rows: int
    work: Callable[..., Any]
    arguments: tuple[object, ...]


def _gather(executor: FitExecutor, tasks: Sequence[_Task], verb: str, notify: Notify) -> dict[str, Any]:
    """Run tasks in their order, as many at a time as there are slots; return their results by name."""
    results: dict[str, Any] = {}
    waiting = deque(tasks)
    running: dict[Future[Any], _Task] = {}
    try:
        with pool_errors():
            while waiting or running:
                while waiting and len(running) < executor.slots_for(waiting[0].rows):
                    task = waiting.popleft()
                    running[executor.executor.submit(task.work, *task.arguments)] = task
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future).name
                    results[name] = future.result()
                    notify(f"{verb} {name}", len(results), len(tasks))
    finally:
        for future in running:
            future.cancel()
    return results
