"""Run stages on one machine: hold the lock, keep each stage's result in platform_db, time it, and sum up."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from readmission.context import Context, Progress
from readmission.dataset.source_file import Dataset
from readmission.dataset.sources import parse_source
from readmission.errors import ReadmissionError
from readmission.orchestration import stages as pipeline
from readmission.orchestration.parallel_training import pool_errors
from readmission.registry.card import log_card
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.probe import require_mlflow
from readmission.registry.promotion import finish_promotions
from readmission.registry.report import log_report
from readmission.registry.tracking import end_parent, fail_runs
from readmission.results import (
    Best,
    Models,
    Options,
    Plan,
    Publication,
    Selection,
    SplitResult,
    StoreResult,
    Summary,
)
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import store as platform
from readmission.warehouse.swap import finish_swaps

Result = TypeVar("Result", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution: its surroundings, what the user chose, and the results of the stages so far.

    Attributes:
        context: of the execution.
        options: the user's.
        pool: processes for training, selecting and publishing; they load their libraries while earlier stages run.
        fallback: whether synthetic records may take the place of the default source.
    """

    context: Context
    options: Options
    pool: ProcessPoolExecutor
    fallback: bool = False

    def load(self, stage: str, kind: type[Result]) -> Result:
        """Read the result of an earlier stage."""
        return load(self.context, stage, kind)

    @property
    def dataset(self) -> Dataset:
        """What ``download`` answered."""
        return self.load("download", Dataset)


def load(context: Context, stage: str, kind: type[Result]) -> Result:
    """Read the result of an earlier stage of the execution."""
    with connect(context.services.platform_url) as connection:
        return kind.model_validate(platform.load_result(connection, context.execution, stage))


def save(context: Context, stage: str, result: BaseModel) -> None:
    """Keep the result of a stage."""
    with connect(context.services.platform_url) as connection:
        platform.save_result(connection, context.execution, stage, result.model_dump(mode="json"))


def _download(run: Run) -> Dataset:
    return pipeline.download(run.context, run.options, run.fallback)


def _split(run: Run) -> SplitResult:
    return pipeline.split(run.context, run.dataset, run.options)


def _store(run: Run) -> StoreResult:
    run.load("split", SplitResult)  # or say that it has to run first
    return pipeline.store(run.context, run.dataset)


def _clean(run: Run) -> BaseModel:
    return pipeline.clean(run.context, run.load("split", SplitResult).batches, run.options)


def _plan(run: Run) -> Plan:
    return pipeline.plan_training(run.context, run.dataset, run.options)


def _train(run: Run) -> Models:
    plan = run.load("plan", Plan)
    models = pipeline.train_all(run.context, run.dataset, plan, run.pool)
    return Models(models=tuple(models))


def _select(run: Run) -> Selection:
    ranking = pipeline.aggregate(run.load("train", Models).models)
    best = pipeline.select(ranking)
    return _elsewhere(run, pipeline.evaluate, run.context.quiet(), ranking, best)


def _publish(run: Run) -> Publication:
    selection = run.load("select", Selection)
    assignment = run.load("split", SplitResult).assignment
    return _elsewhere(run, pipeline.publish, run.context.quiet(), run.dataset, assignment, selection)


def _elsewhere(run: Run, work: Callable[..., Result], *arguments: object) -> Result:
    """Do one piece of work in a process that has its libraries loaded."""
    with pool_errors():
        return run.pool.submit(work, *arguments).result()


STAGES: dict[str, Callable[[Run], BaseModel]] = {
    "download": _download,
    "split": _split,
    "store": _store,
    "clean": _clean,
    "plan": _plan,
    "train": _train,
    "select": _select,
    "publish": _publish,
}
"""The stages by the names of the command line, in their order."""


@contextmanager
def pipeline_lock(context: Context) -> Iterator[None]:
    """Hold the lock of the pipeline and finish what a killed run left half done."""
    with platform.run_lock(context.services.platform_url, f"process {os.getpid()} on {socket.gethostname()}"):
        finish_swaps(context.services)
        finish_promotions(context.services)
        yield


def begin(context: Context, options: Options) -> None:
    """Register the execution with its options, so that later stages know them; of the data source only its label.

    No later stage reads the source again, and an address may hold a login.
    """
    label = None if options.data is None else parse_source(options.data).label
    kept = options.model_copy(update={"data": label}).model_dump(mode="json")
    with connect(context.services.platform_url) as connection:
        platform.begin_execution(connection, context.execution, kept)


def run_stage(run: Run, stage: str) -> BaseModel:
    """Run one stage and keep its result; the caller holds the lock."""
    run.context.report(Progress(f"{stage}: started"))
    started = time.perf_counter()
    result = STAGES[stage](run)
    save(run.context, stage, result)
    run.context.report(Progress(f"{stage}: done in {time.perf_counter() - started:.1f} s"))
    return result


def run_pipeline(run: Run) -> Summary:
    """Run every stage, then draw the report; the caller holds the lock."""
    started = time.perf_counter()
    begin(run.context, run.options)
    try:
        seconds = {stage: _seconds(run_stage, run, stage) for stage in STAGES}
    except ReadmissionError:
        _end_failed(run)
        raise
    run.context.report(Progress("drawing the charts"))
    reports = _seconds(draw_report, run.context)
    return _summary(run, seconds, reports, time.perf_counter() - started)


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return round(time.perf_counter() - started, 3)


def draw_report(context: Context) -> None:
    """Log the charts of the execution to its run in MLflow, and end that run; after publishing, off its path."""
    plan, selection = load(context, "plan", Plan), load(context, "select", Selection)
    dataset, publication = load(context, "download", Dataset), load(context, "publish", Publication)
    with mlflow_errors(context.services):
        client = make_client(context.services)
        log_report(client, plan.parent_run_id, selection)
        log_card(client, context, plan, dataset, selection, publication)
        tags = {"registered_version": publication.version, "decision": publication.decision}
        end_parent(client, plan.parent_run_id, {**tags, "reasons": "; ".join(publication.reasons)})


def _end_failed(run: Run) -> None:
    """Say in MLflow too that the run failed, if it got as far as MLflow and that still answers."""
    with suppress(ReadmissionError), mlflow_errors(run.context.services):
        require_mlflow(run.context.services)
        fail_runs(make_client(run.context.services), run.context.settings.experiment, run.context.execution)


def _summary(run: Run, stages: dict[str, float], reports: float, seconds: float) -> Summary:
    dataset, plan = run.dataset, run.load("plan", Plan)
    selection, publication = run.load("select", Selection), run.load("publish", Publication)
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
        stages=stages,
        report_seconds=reports,
        seconds=round(seconds, 3),
    )
