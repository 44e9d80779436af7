"""The command line's runner: the whole pipeline, or one stage of an execution, with the lock held throughout.

This module loads nothing heavy: the processes that train are started first, and load their libraries beside this one.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from readmission.context import Context, Progress, new_execution
from readmission.dataset.source_file import Dataset
from readmission.errors import ReadmissionError
from readmission.orchestration.execution import (
    begin,
    call_here,
    load,
    pipeline_lock,
    run_in_one_pass,
    run_step,
    stored_options,
)
from readmission.orchestration.executors import side_by_side
from readmission.orchestration.process_pool import pool_errors, worker_pool
from readmission.orchestration.steps import STAGES, Step, load_functions, passes_of_stage
from readmission.registry.probe import require_mlflow
from readmission.results import Best, Options, Plan, Publication, Selection, StoreResult, Summary
from readmission.services import Services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import executions
from readmission.warehouse.metadata.migrate import migrate

_IN_POOL = ("evaluate", "publish")
"""Steps that run in a process of the pool, where what MLflow and skops load for their first model is loaded already."""

_REPORT = "report"
"""The step whose seconds do not count as its stage's: the model is published before it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution, run by the command line.

    Attributes:
        context: of the execution.
        options: the user's.
        pool: processes that train; they load their libraries while the first steps run.
        seconds: that each step has taken; of steps in one pass the first has all.
    """

    context: Context
    options: Options
    pool: ProcessPoolExecutor
    seconds: dict[str, float] = field(default_factory=dict)


def run_pipeline(context: Context, options: Options) -> Summary:
    """Run every stage.

    Args:
        context: of the execution.
        options: the user's.

    Raises:
        ReadmissionError: with one line for people; the previous tables and model stay as they were.
    """
    migrate(context.services.platform_url)  # says at once when the database is down
    # At once: its turn comes after the new tables have replaced the old.
    require_mlflow(context.services)
    with worker_pool(context.settings.workers) as pool:
        load_functions()
        with pipeline_lock(context):
            return _run_all(Run(context, options, pool))


def begin_execution(settings: Settings, services: Services, options: Options, report: Callable[..., None]) -> BaseModel:
    """Begin an execution and run its first stage alone."""
    migrate(services.platform_url)
    context = Context(settings, services, new_execution(), report)
    with pipeline_lock(context), worker_pool(settings.workers, preload=False) as pool:
        begin(context, options)
        return run_stage(Run(context, options, pool), STAGES[0])


def continue_execution(
    settings: Settings, services: Services, execution: str | None, stage: str, report: Callable[..., None]
) -> BaseModel:
    """Run one later stage of an execution; None is the latest."""
    migrate(services.platform_url)
    with connect(services.platform_url) as connection:
        name = execution or executions.latest_execution(connection)
    context = Context(settings, services, name, report)
    options = stored_options(context)
    with worker_pool(settings.workers, preload=stage in ("train", "select", "publish")) as pool:
        load_functions([stage])
        with pipeline_lock(context):
            return run_stage(Run(context, options, pool), stage)


def run_stage(run: Run, stage: str) -> BaseModel:
    """Run the steps of one stage; the caller holds the lock."""
    run.context.report(Progress(f"{stage}: started"))
    started = time.perf_counter()
    results = [result for steps in passes_of_stage(stage) for result in _timed(run, steps)]
    run.context.report(Progress(f"{stage}: done in {time.perf_counter() - started:.1f} s"))
    return _result_of_stage([result for result in results if isinstance(result, BaseModel)])


def _result_of_stage(results: Sequence[BaseModel]) -> BaseModel:
    """The result of a stage's last step; of steps that store rows and views, what they stored together."""
    stored = [result for result in results if isinstance(result, StoreResult)]
    if not stored:
        return results[-1]
    rows = {table: count for result in stored for table, count in result.rows.items()}
    return StoreResult(rows=rows, views=tuple(view for result in stored for view in result.views))


def _timed(run: Run, steps: Sequence[Step]) -> Sequence[Any]:
    started = time.perf_counter()
    if len(steps) > 1:
        results = run_in_one_pass(steps, run.context, run.options)
    else:
        results = (run_step(steps[0], run.context, run.options, _call(run, steps[0])),)
    run.seconds[steps[0].name] = time.perf_counter() - started
    return results


def _call(run: Run, step: Step) -> Callable[..., Any]:
    """How the function of a step is called here."""
    if step.mapped:
        executor = side_by_side(run.pool, run.context.settings.workers)
        return lambda function, context, dataset, plan: function(context, dataset, plan, plan.configs, executor)
    return run_in_pool(run.pool) if step.name in _IN_POOL else call_here


def run_in_pool(pool: ProcessPoolExecutor) -> Callable[..., Any]:
    """Call functions of steps in a process of the pool."""

    def call(function: Callable[..., Any], context: Context, *inputs: object) -> Any:
        with pool_errors():
            return pool.submit(function, context.quiet(), *inputs).result()

    return call


def _run_all(run: Run) -> Summary:
    started = time.perf_counter()
    begin(run.context, run.options)
    try:
        for stage in STAGES:
            run_stage(run, stage)
    except ReadmissionError:
        _end_failed(run)
        raise
    return _summary(run, time.perf_counter() - started)


def _end_failed(run: Run) -> None:
    """Say in MLflow too that the run failed, if it got as far as MLflow and that still answers."""
    from readmission.registry.client import make_client, mlflow_errors
    from readmission.registry.tracking import fail_runs

    with suppress(ReadmissionError), mlflow_errors(run.context.services):
        require_mlflow(run.context.services)
        fail_runs(make_client(run.context.services), run.context.settings.experiment, run.context.execution)


def _summary(run: Run, seconds: float) -> Summary:
    dataset, plan = load(run.context, "download", Dataset), load(run.context, "plan", Plan)
    selection, publication = load(run.context, "evaluate", Selection), load(run.context, "publish", Publication)
    return Summary(
        execution=run.context.execution,
        data_source=dataset.source,
        data_fallback=dataset.fallback,
        batches=len(plan.configs),
        models=len(selection.ranking),
        best=Best(
            model_type=selection.best.model_type,
            cumulative_idx=selection.best.cumulative_idx,
            run_id=selection.best.run_id,
            val_f1_score=selection.metrics["val_f1_score"],
            val_roc_auc=selection.metrics["val_roc_auc"],
            test_f1_score=selection.metrics["test_f1_score"],
        ),
        registered_version=publication.version,
        decision=publication.decision,
        reasons=publication.reasons,
        stages={stage: _stage_seconds(run, stage) for stage in STAGES},
        report_seconds=round(run.seconds[_REPORT], 3),
        seconds=round(seconds, 3),
    )


def _stage_seconds(run: Run, stage: str) -> float:
    return round(sum(run.seconds[steps[0].name] for steps in passes_of_stage(stage) if steps[0].name != _REPORT), 3)
