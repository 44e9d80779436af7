"""The functions of the steps that train, compare and publish, ``plan`` to ``report``, by whose names they are found."""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from readmission.context import Context, Progress
from readmission.dataset.source_file import Dataset
from readmission.errors import ReadmissionError
from readmission.evaluation.selection import rank
from readmission.orchestration.executors import FitExecutor
from readmission.orchestration.parallel_training import TrainingJob, fit_sets, prepare_sets
from readmission.orchestration.tables_in_use import require_tables
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.evaluation import evaluate_model, log_evaluation, prefixed_intervals, stop_at_leak
from readmission.registry.publishing import publish_model
from readmission.registry.tracking import end_parent, end_stale_runs, ensure_experiment, start_parent, supersede_runs
from readmission.results import (
    Models,
    Options,
    Plan,
    Publication,
    Ranking,
    Selection,
    SplitResult,
    TrainedModel,
    TrainingConfig,
)
from readmission.training.tuned_parameters import read_params
from readmission.warehouse.clean import count_rows, cumulative_views
from readmission.warehouse.connection import connect

_log = logging.getLogger(__name__)


def plan(context: Context, dataset: Dataset, options: Options) -> Plan:
    """List the cumulative sets that are stored, and open the MLflow run of the execution."""
    require_tables(context)
    with connect(context.services.clean_url) as clean_database:
        views = cumulative_views(clean_database)
        rows = list(count_rows(clean_database, views))
    configs = [
        TrainingConfig(cumulative_idx=number, view=view, rows=count)
        for number, (view, count) in enumerate(zip(views, rows, strict=True))
    ]
    with mlflow_errors(context.services):
        client = make_client(context.services)
        experiment_id = ensure_experiment(client, context.settings.experiment)
        end_stale_runs(client, experiment_id, context.execution)
        parent = start_parent(client, experiment_id, context.execution, data_tags(dataset))
    return Plan(
        experiment_id=experiment_id,
        parent_run_id=parent,
        configs=tuple(configs),
        model_types=options.model_types,
        aim=options.aim,
        tuned=dict(read_params(context.settings.tuning)) if context.settings.tuning else {},
    )


def data_tags(dataset: Dataset) -> dict[str, str]:
    """Where the data came from, for every run and version; synthetic data is never silent."""
    tags = {"data_source": dataset.source, "data_kind": dataset.kind, "data_sha256": dataset.sha256}
    return {**tags, "data_fallback": dataset.fallback} if dataset.fallback else tags


def train_cumulative(
    context: Context, dataset: Dataset, plan: Plan, configs: Sequence[TrainingConfig], executor: FitExecutor
) -> dict[int, Models]:
    """Train every type on some of the cumulative sets.

    A set that is trained again (its first try failed, or its host was lost) replaces what that try left in MLflow.

    Args:
        context: of the execution.
        dataset: where the rows came from.
        plan: of the execution.
        configs: the sets.
        executor: runs the fits.

    Returns:
        the models of each set, by its number.
    """
    require_tables(context)
    with mlflow_errors(context.services):
        sets = [config.cumulative_idx for config in configs]
        supersede_runs(make_client(context.services), plan.experiment_id, context.execution, *sets)
    job = TrainingJob(context.services, context.execution, plan, data_tags(dataset), context.scratch)
    _remove_arrays_of_others(context)
    _remove_arrays(job, configs)

    def notify(what: str, done: int, total: int) -> None:
        context.report(Progress(what, done, total))

    try:
        prepared = prepare_sets(executor, job, configs, notify)
        require_tables(context)  # while the rows were read, too
        return fit_sets(executor, job, configs, prepared, notify)
    finally:
        _remove_arrays(job, configs)


def _remove_arrays(job: TrainingJob, configs: Sequence[TrainingConfig]) -> None:
    for config in configs:
        shutil.rmtree(job.arrays(config), ignore_errors=True)


def _remove_arrays_of_others(context: Context) -> None:
    """Remove arrays that killed executions left behind; their tables have been replaced."""
    for folder in context.scratch.glob("*"):
        if folder.name.partition(".")[0] != context.execution:
            shutil.rmtree(folder, ignore_errors=True)


def aggregate(context: Context, plan: Plan, trained: Sequence[Models]) -> Ranking:
    """Rank the models of all sets that are complete, best first, and name those that are not.

    Raises:
        ReadmissionError: no set is complete.
    """
    models = [model for one in trained for model in one.models]
    if not models:
        raise ReadmissionError("No cumulative set was trained: see the logs of train_cumulative")
    complete = {model.cumulative_idx for model in models}
    missing = tuple(config.view for config in plan.configs if config.cumulative_idx not in complete)
    if missing:
        _log.warning("Execution %s: not trained, and left out: %s", context.execution, ", ".join(missing))
    return Ranking(models=rank(models), missing=missing)


def select(_: Context, ranking: Ranking) -> TrainedModel:
    """Choose the winner: highest validation F1, ROC-AUC as tie-breaker."""
    return ranking.models[0]


def evaluate(context: Context, ranking: Ranking, best: TrainedModel) -> Selection:
    """Reload the winner from MLflow, measure it on all of validation and, once, on test, and log both."""
    require_tables(context)
    with mlflow_errors(context.services), tempfile.TemporaryDirectory() as scratch:
        client = make_client(context.services)
        evaluations = evaluate_model(client, context.services, best, Path(scratch))
        metrics = log_evaluation(client, best.run_id, evaluations)
    selection = Selection(
        ranking=ranking.models,
        best=best,
        metrics=metrics,
        intervals=prefixed_intervals(evaluations),
        slices=evaluations["val"].slices,
        expired=evaluations["test"].expired,
        rows={prefix: int(evaluation.confusion.sum()) for prefix, evaluation in evaluations.items()},
    )
    stop_at_leak(selection, context.settings)
    return selection


def publish(context: Context, dataset: Dataset, split: SplitResult, plan: Plan, selection: Selection) -> Publication:
    """Register the winner with its bundle and, if the gate lets it pass, point production at it; log what was decided.

    Args:
        context: of the execution.
        dataset: what it was trained on.
        split: name and sizes of the split assignment that it was trained with.
        plan: names the run of the execution in MLflow, which ends here.
        selection: the winner.
    """
    require_tables(context)
    with mlflow_errors(context.services), tempfile.TemporaryDirectory() as scratch:
        publication = publish_model(context, dataset, split.assignment, selection, Path(scratch))
        tags = {"registered_version": publication.version, "decision": publication.decision}
        reasons = "; ".join(publication.reasons)
        end_parent(make_client(context.services), plan.parent_run_id, {**tags, "reasons": reasons})
        return publication


def report(
    context: Context,
    dataset: Dataset,
    plan: Plan,
    selection: Selection,
    publication: Publication,
    options: Options,
) -> None:
    """Draw the charts for the run of the execution, and the model card for the version; unless they are left out."""
    if options.no_report:
        return
    from readmission.registry.card import log_card  # both load Matplotlib, which nothing else needs
    from readmission.registry.report import log_report

    context.report(Progress("drawing the charts"))
    with mlflow_errors(context.services):
        client = make_client(context.services)
        log_report(client, plan.parent_run_id, selection)
        log_card(client, context, plan, dataset, selection, publication)
