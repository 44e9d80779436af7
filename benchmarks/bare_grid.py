"""The baseline of the pipeline's overhead: the same fits, predictions and metrics on arrays in memory, nothing else.

No database, no MLflow, no files: the arrays are made once, processes are forked so that they share them, the longest
fits go first. With ``--boosting sklearn`` the boosted trees are scikit-learn's, everything else stays.

    python -m benchmarks.bare_grid CSV --batches 7 --workers 2 --threads 1 [--boosting sklearn]
"""

import argparse
import json
import multiprocessing
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.ensemble import GradientBoostingClassifier
from threadpoolctl import threadpool_limits

from readmission.bundle import Decision
from readmission.dataset.csvfile import open_batches
from readmission.dataset.keys import read_keys
from readmission.dataset.parts import PARTS, Part
from readmission.dataset.split import UNASSIGNED, assign_parts, cut_batches, gather
from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder
from readmission.features.fit import encode_columns, fit_encoder
from readmission.results import MODEL_TYPES
from readmission.schema import LABELS
from readmission.training.estimators import RELATIVE_COST, SEED, make_estimator
from readmission.training.fitting import measure
from readmission.training.prepare import Arrays

Set = tuple[Encoder, Arrays, Arrays]


def make_sets(path: Path, batches: int) -> list[Set]:
    """Make the arrays of every cumulative set: encoder, training and validation rows."""
    keys = read_keys(path)
    groups = gather(keys.patient_nbr, keys.labels, len(LABELS))
    parts = assign_parts(groups, np.full(len(groups.keys), UNASSIGNED, np.int8), SEED)[groups.of_row]
    clean = pa.concat_tables(clean_columns(pa.Table.from_batches([batch])) for batch in open_batches(path))
    clean = clean.unify_dictionaries().combine_chunks()
    training = np.flatnonzero(parts == PARTS.index(Part.TRAIN))
    validation = np.flatnonzero(parts == PARTS.index(Part.VALIDATION))
    batch_of = cut_batches(len(training), SEED, None, batches)
    return [
        _make_set(clean, keys.labels, training[batch_of <= last], validation) for last in range(int(batch_of.max()) + 1)
    ]


def _make_set(clean: pa.Table, labels: np.ndarray, training: np.ndarray, validation: np.ndarray) -> Set:
    rows = clean.take(pa.array(training))
    encoder = fit_encoder(rows)
    held_out = encode_columns(encoder, clean.take(pa.array(validation)))
    return (
        encoder,
        Arrays(encode_columns(encoder, rows), labels[training]),
        Arrays(held_out, labels[validation]),
    )


def fit_one(sets: list[Set], boosting: str, threads: int, task: tuple[int, str]) -> float:
    """Fit, predict and measure one model of the grid; answer its validation F1."""
    place, model_type = task
    encoder, train, validation = sets[place]
    estimator = make_estimator(model_type, encoder, threads)
    if model_type == "gradient_boosting" and boosting == "sklearn":
        estimator = GradientBoostingClassifier(n_estimators=100, max_depth=5, random_state=SEED)
    with threadpool_limits(threads):
        estimator.fit(train.matrix, train.labels)
        measure(estimator, train, Decision(), "train_")
        return measure(estimator, validation, Decision(), "val_")["val_f1_score"]


def run(sets: list[Set], workers: int, threads: int, boosting: str) -> tuple[float, list[float]]:
    """Run the grid; answer seconds and scores."""
    boosted = {"gradient_boosting": 60} if boosting == "sklearn" else {}
    cost = {**RELATIVE_COST, **boosted}
    tasks = [(place, model_type) for place in range(len(sets)) for model_type in MODEL_TYPES]
    tasks.sort(key=lambda task: -len(sets[task[0]][1].labels) * cost[task[1]])
    work = partial(_from_global, boosting, threads)
    _SETS[:] = sets
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.map(abs, range(workers))
        started = time.perf_counter()
        scores = list(pool.imap(work, tasks, chunksize=1))
        return time.perf_counter() - started, scores


_SETS: list[Set] = []
"""Inherited by the forked processes, so that no array is copied or sent."""


def _from_global(boosting: str, threads: int, task: tuple[int, str]) -> float:
    return fit_one(_SETS, boosting, threads, task)


def main() -> None:
    """Measure one combination and print it as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("csv", type=Path)
    parser.add_argument("--batches", type=int, default=7)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--boosting", choices=["ours", "sklearn"], default="ours")
    options = parser.parse_args()
    sets = make_sets(options.csv, options.batches)
    seconds, scores = run(sets, options.workers, options.threads, options.boosting)
    print(json.dumps({"seconds": round(seconds, 2), "best_val_f1_score": round(max(scores), 4), "models": len(scores)}))


if __name__ == "__main__":
    main()
