"""The stages in order, one short function each; what the command line and the DAGs call.

Nothing passes between stages but small results, tables and object keys: the next stage may run on another host.
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from readmission.context import Context, Progress, Report
from readmission.dataset.acquire import acquire, acquire_or_synthetic, open_dataset
from readmission.dataset.parts import PARTS, Part
from readmission.dataset.row_keys import Keys, read_keys
from readmission.dataset.source_file import Dataset
from readmission.dataset.split import UNASSIGNED, assign_parts, cut_batches, gather
from readmission.errors import BadInputError
from readmission.evaluation.selection import rank
from readmission.orchestration.parallel_training import GridJob, fit_and_log, prepare, train_grid
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.evaluation import evaluate_model, log_evaluation, prefixed_intervals, stop_at_leak
from readmission.registry.publishing import publish_model
from readmission.registry.tracking import end_stale_runs, ensure_experiment, start_parent, supersede_runs
from readmission.results import (
    CleanResult,
    Options,
    Plan,
    Publication,
    Selection,
    SplitResult,
    StoreResult,
    TrainedModel,
    TrainingConfig,
)
from readmission.schema import LABELS
from readmission.services import Services
from readmission.settings import Settings
from readmission.training.estimators import SEED
from readmission.training.preparation import digest, encode_set
from readmission.training.tuned_parameters import TunedParams, read_params, write_params
from readmission.warehouse.builds import build_schema, build_schemas, current_execution, start_build
from readmission.warehouse.clean import CLEAN_TABLES, clean_build, count_rows, cumulative_views, read_clean
from readmission.warehouse.connection import connect
from readmission.warehouse.raw import (
    HOLDOUT_TABLES,
    Assignment,
    Placement,
    batch_tables,
    create_views,
    read_placement,
    store_parts,
    write_assignment,
)
from readmission.warehouse.raw import (
    store_batches as copy_batches,
)
from readmission.warehouse.raw import (
    store_holdout as copy_holdout,
)
from readmission.warehouse.split_assignments import note_parts, recall_parts
from readmission.warehouse.swap import swap

MIN_LABEL_ROWS = 10
"""Rows of each outcome that the smallest cumulative set needs, so that a model of it means anything."""


def download(context: Context, options: Options, fallback: bool = False) -> Dataset:
    """Get, verify and cache the data file, and put it into S3.

    Args:
        context: of the execution.
        options: ``data`` names the source.
        fallback: where the default source cannot be reached, go on with synthetic records (and say so).
    """

    def report(what: str, done: int, total: int) -> None:
        context.report(Progress(what, done, total))

    if fallback and options.data is None:
        return acquire_or_synthetic(context.settings, context.services, report)
    return acquire(context.settings, context.services, options.data, report)


def split(context: Context, dataset: Dataset, options: Options) -> SplitResult:
    """Give each row its part and training rows their batch; start the builds and store the assignment there."""
    keys = read_keys(open_dataset(context.settings, context.services, dataset))
    seed = SEED if options.seed is None else options.seed
    groups = gather(keys.patient_nbr if options.split == "patient" else keys.encounter_id, keys.labels, len(LABELS))
    # Both databases must answer and the data must do before anything is begun: a refused run leaves no build behind.
    with connect(context.services.clean_url) as clean, connect(context.services.raw_url) as raw:
        known = np.full(len(groups.keys), UNASSIGNED, np.int8)
        if options.seed is None:
            known = recall_parts(raw, options.split, groups.keys)
        parts = assign_parts(groups, known, seed)
        assignment = _assign_rows(keys, parts[groups.of_row], seed, options)
        start_build(clean, context.execution)
        start_build(raw, context.execution)
        # An experiment's parts are remembered too, under a name of their own: the gate must know them later.
        name = options.split if options.seed is None else f"{options.split}:{context.execution}"
        fresh = known == UNASSIGNED
        note_parts(raw, context.execution, name, groups.keys[fresh], parts[fresh])
        write_assignment(raw, context.execution, assignment)
    sizes = {str(part): int((assignment.part == place).sum()) for place, part in enumerate(PARTS)}
    return SplitResult(
        sizes=sizes,
        batches=assignment.batches,
        grouping=options.split,
        seed=seed,
        remembered=int((known != UNASSIGNED).sum()),
        assignment=name,
    )


def _assign_rows(keys: Keys, part_of_row: np.ndarray, seed: int, options: Options) -> Assignment:
    _check_parts(keys, part_of_row)
    training = part_of_row == PARTS.index(Part.TRAIN)
    batch_id = np.full(len(part_of_row), -1, np.int16)
    batch_id[training] = cut_batches(int(training.sum()), seed, options.batch_size, options.batches)
    _check_first_batch(keys.labels[batch_id == 0])
    return Assignment(part_of_row, batch_id, keys.encounter_id)


def _check_parts(keys: Keys, part_of_row: np.ndarray) -> None:
    """Refuse data that is too small: each part needs rows of each label to be trained and measured on."""
    for place, part in enumerate(PARTS):
        counts = np.bincount(keys.labels[part_of_row == place], minlength=len(LABELS))
        if not counts.all():
            label = LABELS[int(np.argmin(counts))]
            raise BadInputError(f"Too few rows: the {part} part got none with the outcome {label}; give more data")


def _check_first_batch(labels: np.ndarray) -> None:
    """Refuse batches that are too small: the first is a cumulative set of its own, and every other one holds it."""
    counts = np.bincount(labels, minlength=len(LABELS))
    if counts.min() < MIN_LABEL_ROWS:
        label = LABELS[int(np.argmin(counts))]
        raise BadInputError(
            f"Batches too small: batch_0 has {len(labels)} rows, {counts.min()} of them with the outcome {label}, and"
            f" needs {MIN_LABEL_ROWS}; give fewer --batches or a larger --batch-size"
        )


def store(context: Context, dataset: Dataset) -> StoreResult:
    """Load every row into its table of the build and create the views: the three stages below in one pass."""
    path, placement = _to_store(context, dataset)
    names = (*batch_tables(placement.batches), *HOLDOUT_TABLES)
    rows = store_parts(context.services, context.execution, path, placement)
    views = store_views(context, placement.batches)
    return StoreResult(rows=dict(zip(names, rows, strict=True)), views=views.views)


def _to_store(context: Context, dataset: Dataset) -> tuple[Path, Placement]:
    path = open_dataset(context.settings, context.services, dataset)
    with connect(context.services.raw_url) as raw:
        return path, read_placement(raw, build_schema(context.execution))


def store_batches(context: Context, dataset: Dataset) -> StoreResult:
    """Load the training rows into the batch tables of the build."""
    path, placement = _to_store(context, dataset)
    rows = copy_batches(context.services, context.execution, path, placement)
    return StoreResult(rows=dict(zip(batch_tables(placement.batches), rows, strict=True)))


def store_views(context: Context, batches: int) -> StoreResult:
    """Create the cumulative views of the build."""
    with connect(context.services.raw_url) as raw:
        views = create_views(raw, context.execution, batches)
    return StoreResult(rows={}, views=tuple(views))


def store_holdout(context: Context, dataset: Dataset) -> StoreResult:
    """Load the validation and test rows into their tables of the build."""
    path, placement = _to_store(context, dataset)
    rows = copy_holdout(context.services, context.execution, path, placement)
    return StoreResult(rows=dict(zip(HOLDOUT_TABLES, rows, strict=True)))


def clean(context: Context, batches: int, options: Options) -> CleanResult:
    """Clean every raw table of the build, then swap the new set in, in both databases.

    Where that has happened already, and only its result was lost, nothing is left to do.
    """
    if is_in_place(context):
        with connect(context.services.clean_url) as clean_database:
            rows = dict(zip(CLEAN_TABLES, count_rows(clean_database, CLEAN_TABLES), strict=True))
    else:
        rows = clean_build(context.services, context.execution, batches, options.exclude_expired)
        swap(context.services, context.execution)
    return CleanResult(rows=rows)


def is_in_place(context: Context) -> bool:
    """Whether the tables of this execution were swapped in, and are those in use."""
    return _owner(context) == context.execution and not _has_build(context)


def _has_build(context: Context) -> bool:
    with connect(context.services.clean_url) as clean_database:
        return build_schema(context.execution) in build_schemas(clean_database)


def _owner(context: Context) -> str | None:
    with connect(context.services.clean_url) as clean_database:
        return current_execution(clean_database, "train_clean")


def require_current(context: Context) -> None:
    """Make sure that the tables are those of this execution: no model may carry the name of other data.

    Raises:
        BadInputError: they belong to another one, or there are none.
    """
    owner = _owner(context)
    if owner != context.execution:
        held = f"hold execution {owner}" if owner else "do not exist"
        raise BadInputError(
            f"The current tables {held}, not execution {context.execution}: run its stages split, store and clean first"
        )


def tune(settings: Settings, services: Services, minutes: float, output: Path, report: Report) -> TunedParams:
    """Search parameters of the challenger on the largest cumulative set that is stored, and write them to a file."""
    with connect(services.clean_url) as clean_database:
        views = cumulative_views(clean_database)
        if not views:
            raise BadInputError("No training rows are stored: run `readmission pipeline run` first")
        rows = read_clean(clean_database, views[-1])
    from readmission.training.tuning import search  # loads Optuna, which nothing else needs

    encoder, arrays = encode_set(rows)
    found = search(arrays, encoder, digest(arrays), minutes, settings.workers, lambda *step: report(Progress(*step)))
    write_params(found, output)
    return found


def plan_training(context: Context, dataset: Dataset, options: Options) -> Plan:
    """List the cumulative sets that are stored, and open the MLflow run of the execution."""
    require_current(context)
    with connect(context.services.clean_url) as clean_database:
        views = cumulative_views(clean_database)
        rows = list(count_rows(clean_database, views))
    configs = [
        TrainingConfig(cumulative_idx=place, view=view, rows=count)
        for place, (view, count) in enumerate(zip(views, rows, strict=True))
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


def train(context: Context, dataset: Dataset, plan: Plan, config: TrainingConfig) -> list[TrainedModel]:
    """Train every type on one cumulative set, one after the other, with all cores (one mapped task).

    Done again, for the first try failed or its host was lost, it takes the place of what that left in MLflow.
    """
    require_current(context)
    with mlflow_errors(context.services):
        client = make_client(context.services)
        supersede_runs(client, plan.experiment_id, context.execution, config.cumulative_idx)
    _remove_scratch_of_others(context)
    job = _job(context, dataset, plan)
    models: list[TrainedModel] = []
    try:
        prepared = prepare(job, config)
        require_current(context)  # while the rows were read, too
        for model_type in plan.model_types:
            context.report(Progress(f"{config.view} {model_type}: training", len(models), len(plan.model_types)))
            models.append(fit_and_log(job, config, prepared, model_type, context.settings.workers))
    finally:
        shutil.rmtree(context.scratch / config.view, ignore_errors=True)
    return models


def _remove_scratch_of_others(context: Context) -> None:
    """Remove arrays of executions whose tables have gone: what was killed cannot remove its own."""
    if context.scratch.parent.is_dir():
        for folder in context.scratch.parent.iterdir():
            if folder != context.scratch:
                shutil.rmtree(folder, ignore_errors=True)


def train_all(context: Context, dataset: Dataset, plan: Plan, pool: ProcessPoolExecutor) -> list[TrainedModel]:
    """Train every type on every cumulative set, over the processes of ``grid.worker_pool``."""
    require_current(context)
    _remove_scratch_of_others(context)
    shutil.rmtree(context.scratch, ignore_errors=True)

    def notify(what: str, done: int, total: int) -> None:
        context.report(Progress(what, done, total))

    try:
        return train_grid(pool, context.settings.workers, _job(context, dataset, plan), notify)
    finally:
        shutil.rmtree(context.scratch, ignore_errors=True)


def _job(context: Context, dataset: Dataset, plan: Plan) -> GridJob:
    return GridJob(context.services, context.execution, plan, data_tags(dataset), context.scratch)


def aggregate(models: Iterable[TrainedModel]) -> tuple[TrainedModel, ...]:
    """Rank the models of this execution, best first."""
    return rank(list(models))


def select(ranking: Sequence[TrainedModel]) -> TrainedModel:
    """Choose the winner: highest validation F1, ROC-AUC as tie-breaker."""
    return ranking[0]


def evaluate(context: Context, ranking: Sequence[TrainedModel], best: TrainedModel) -> Selection:
    """Reload the winner from MLflow, measure it on all of validation and, once, on test, and log both."""
    require_current(context)
    with mlflow_errors(context.services), tempfile.TemporaryDirectory() as scratch:
        client = make_client(context.services)
        evaluations = evaluate_model(client, context.services, best, Path(scratch))
        metrics = log_evaluation(client, best.run_id, evaluations)
    selection = Selection(
        ranking=tuple(ranking),
        best=best,
        metrics=metrics,
        intervals=prefixed_intervals(evaluations),
        slices=evaluations["val"].slices,
        expired=evaluations["test"].expired,
        rows={prefix: int(evaluation.confusion.sum()) for prefix, evaluation in evaluations.items()},
    )
    stop_at_leak(selection, context.settings)
    return selection


def publish(context: Context, dataset: Dataset, assignment: str, selection: Selection) -> Publication:
    """Register the winner with its bundle and, if the gate lets it pass, point production at it; log what was decided.

    Args:
        context: of the execution.
        dataset: what it was trained on.
        assignment: of ``SplitResult``.
        selection: the winner.
    """
    require_current(context)
    with mlflow_errors(context.services), tempfile.TemporaryDirectory() as scratch:
        return publish_model(context, dataset, assignment, selection, Path(scratch))
