"""The functions of the steps that fill tables, ``download`` to ``clean``, by whose names they are found.

Nothing here needs MLflow or scikit-learn: an Airflow task of these steps starts three seconds sooner. Nothing passes
between steps but small results, tables and object keys, for the next step may run on another host.
"""

from pathlib import Path

import numpy as np

from readmission.context import Context, Progress
from readmission.dataset.acquire import acquire, acquire_or_synthetic, open_dataset
from readmission.dataset.row_keys import Keys, read_keys
from readmission.dataset.source_file import Dataset
from readmission.dataset.split import UNASSIGNED, assign_splits, cut_batches, gather
from readmission.dataset.splits import SPLITS, Split
from readmission.errors import BadInputError
from readmission.orchestration.tables_in_use import owns_tables
from readmission.results import SEED, CleanResult, Options, SplitResult, StoreResult
from readmission.schema import LABELS
from readmission.warehouse.builds import build_schema, start_build
from readmission.warehouse.clean import CLEAN_TABLES, clean_build, count_rows
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
