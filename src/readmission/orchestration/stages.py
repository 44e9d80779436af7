"""The functions of the steps, in the order of ``steps.STEPS``, by whose names they are found.

Nothing passes between steps but small results, tables and object keys: the next step may run on another host.
"""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from readmission.context import Context, Progress
from readmission.dataset.acquire import acquire, acquire_or_synthetic, open_dataset
from readmission.dataset.row_keys import Keys, read_keys
from readmission.dataset.source_file import Dataset
from readmission.dataset.split import UNASSIGNED, assign_splits, cut_batches, gather
from readmission.dataset.splits import SPLITS, Split
from readmission.errors import BadInputError, ReadmissionError
from readmission.evaluation.selection import rank
from readmission.orchestration.executors import FitExecutor
from readmission.orchestration.parallel_training import TrainingJob, fit_sets, prepare_sets
from readmission.orchestration.tables_in_use import owns_tables, require_tables
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.evaluation import evaluate_model, log_evaluation, prefixed_intervals, stop_at_leak
from readmission.registry.publishing import publish_model
from readmission.registry.tracking import end_parent, end_stale_runs, ensure_experiment, start_parent, supersede_runs
from readmission.results import (
    CleanResult,
    Models,
    Options,
    Plan,
    Publication,
    Ranking,
    Selection,
    SplitResult,
    StoreResult,
    TrainedModel,
    TrainingConfig,
)
from readmission.schema import LABELS
from readmission.training.estimators import SEED
from readmission.training.tuned_parameters import read_params
from readmission.warehouse.builds import build_schema, start_build
from readmission.warehouse.clean import CLEAN_TABLES, clean_build, count_rows, cumulative_views
from readmission.warehouse.connection import connect
from readmission.warehouse.raw import (
    HOLDOUT_TABLES,
    Assignment,
    Placement,
    batch_tables,
    create_views,
    read_placement,
    store_all,
    write_assignment,
)
from readmission.warehouse.raw import (
    store_batches as copy_batches,
)
from readmission.warehouse.raw import (
    store_holdout as copy_holdout,
)
from readmission.warehouse.split_assignments import load_assignments, save_new_assignments
from readmission.warehouse.swap import swap

_log = logging.getLogger(__name__)

MIN_LABEL_ROWS = 10
"""Rows of each outcome that the smallest cumulative set needs, so that a model of it means anything."""


def download(context: Context, options: Options) -> Dataset:
    """Get, verify and cache the data file that the options name, and put it into S3.

    Where the default source cannot be reached and the context allows it, synthetic records take its place.
    """

    def report_rows(what: str, done: int, total: int) -> None:
        context.report(Progress(what, done, total))

    if context.synthetic_fallback and options.data is None:
        return acquire_or_synthetic(context.settings, context.services, report_rows)
    return acquire(context.settings, context.services, options.data, report_rows)


def split(context: Context, dataset: Dataset, options: Options) -> SplitResult:
    """Assign each row to a split and each training row to a batch; start the builds and store the assignment there."""
    keys = read_keys(open_dataset(context.settings, context.services, dataset))
    seed = SEED if options.seed is None else options.seed
    groups = gather(keys.patient_nbr if options.split == "patient" else keys.encounter_id, keys.labels, len(LABELS))
    # Both databases must answer and the data must do before anything is begun: a refused run leaves no build behind.
    with connect(context.services.clean_url) as clean, connect(context.services.raw_url) as raw:
        known = np.full(len(groups.keys), UNASSIGNED, np.int8)
        if options.seed is None:
            known = load_assignments(raw, options.split, groups.keys)
        splits = assign_splits(groups, known, seed)
        assignment = _assign_rows(keys, splits[groups.of_row], seed, options)
        start_build(clean, context.execution)
        start_build(raw, context.execution)
        # Those of an experiment are stored too, under a name of their own: the promotion gate needs them later.
        name = options.split if options.seed is None else f"{options.split}:{context.execution}"
        fresh = known == UNASSIGNED
        save_new_assignments(raw, context.execution, name, groups.keys[fresh], splits[fresh])
        write_assignment(raw, context.execution, assignment)
    sizes = {str(split): int((assignment.split == number).sum()) for number, split in enumerate(SPLITS)}
    return SplitResult(
        sizes=sizes,
        batches=assignment.batches,
        grouping=options.split,
        seed=seed,
        remembered=int((known != UNASSIGNED).sum()),
        assignment=name,
    )


def _assign_rows(keys: Keys, split_of_row: np.ndarray, seed: int, options: Options) -> Assignment:
    _check_splits(keys, split_of_row)
    training = split_of_row == SPLITS.index(Split.TRAIN)
    batch_id = np.full(len(split_of_row), -1, np.int16)
    batch_id[training] = cut_batches(int(training.sum()), seed, options.batch_size, options.batches)
    _check_first_batch(keys.labels[batch_id == 0])
    return Assignment(split_of_row, batch_id, keys.encounter_id)


def _check_splits(keys: Keys, split_of_row: np.ndarray) -> None:
    """Refuse data that is too small: each split needs rows of each label to be trained and measured on."""
    for number, split in enumerate(SPLITS):
        counts = np.bincount(keys.labels[split_of_row == number], minlength=len(LABELS))
        if not counts.all():
            label = LABELS[int(np.argmin(counts))]
            raise BadInputError(f"Too few rows: the {split} split has none with the outcome {label}; give more data")


def _check_first_batch(labels: np.ndarray) -> None:
    """Refuse batches that are too small: the first is a cumulative set of its own, and every other one holds it."""
    counts = np.bincount(labels, minlength=len(LABELS))
    if counts.min() < MIN_LABEL_ROWS:
        label = LABELS[int(np.argmin(counts))]
        raise BadInputError(
            f"Batches too small: batch_0 has {len(labels)} rows, {counts.min()} of them with the outcome {label}, and"
            f" needs {MIN_LABEL_ROWS}; give fewer --batches or a larger --batch-size"
        )


def store_batches(context: Context, dataset: Dataset, split: SplitResult) -> StoreResult:
    """Load the training rows into the batch tables of the build."""
    path, placement = _to_store(context, dataset)
    rows = copy_batches(context.services, context.execution, path, placement)
    return StoreResult(rows=dict(zip(batch_tables(split.batches), rows, strict=True)))


def store_holdout(context: Context, dataset: Dataset) -> StoreResult:
    """Load the validation and test rows into their tables of the build."""
    path, placement = _to_store(context, dataset)
    rows = copy_holdout(context.services, context.execution, path, placement)
    return StoreResult(rows=dict(zip(HOLDOUT_TABLES, rows, strict=True)))


def store_rows(context: Context, dataset: Dataset, split: SplitResult) -> tuple[StoreResult, StoreResult]:
    """Load all rows: what ``store_batches`` and ``store_holdout`` do, in one pass over the file."""
    path, placement = _to_store(context, dataset)
    rows = store_all(context.services, context.execution, path, placement)
    stored = dict(zip((*batch_tables(split.batches), *HOLDOUT_TABLES), rows, strict=True))
    holdout = {table: stored.pop(table) for table in HOLDOUT_TABLES}
    return StoreResult(rows=stored), StoreResult(rows=holdout)


def store_views(context: Context, split: SplitResult) -> StoreResult:
    """Create the cumulative views of the build."""
    with connect(context.services.raw_url) as raw:
        views = create_views(raw, context.execution, split.batches)
    return StoreResult(rows={}, views=tuple(views))


def _to_store(context: Context, dataset: Dataset) -> tuple[Path, Placement]:
    path = open_dataset(context.settings, context.services, dataset)
    with connect(context.services.raw_url) as raw:
        return path, read_placement(raw, build_schema(context.execution))


def clean(context: Context, split: SplitResult, options: Options) -> CleanResult:
    """Clean every raw table of the build, then swap the new set in, in both databases.

    Where that has happened already, and only its result was lost, nothing is left to do.
    """
    if owns_tables(context):
        with connect(context.services.clean_url) as clean_database:
            rows = dict(zip(CLEAN_TABLES, count_rows(clean_database, CLEAN_TABLES), strict=True))
    else:
        rows = clean_build(context.services, context.execution, split.batches, options.exclude_expired)
        swap(context.services, context.execution)
    return CleanResult(rows=rows)


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
