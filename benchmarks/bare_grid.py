"""Baseline of the pipeline's overhead: only the same fits, predictions and metrics, on arrays in memory.

Without database, MLflow and files: the arrays are made once, forked processes share them, and the longest fits start
first. With ``--boosting sklearn`` the boosted trees are scikit-learn's, which fit each training row once, half the work
of the default ones.

    python -m benchmarks.bare_grid CSV --batches 7 --workers 2 --threads 1 [--boosting sklearn]
"""

import argparse
import json
import multiprocessing
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.ensemble import GradientBoostingClassifier
from threadpoolctl import threadpool_limits

from readmission.dataset.csvfile import open_batches
from readmission.dataset.row_keys import read_keys
from readmission.dataset.split import UNASSIGNED, assign_splits, cut_batches, gather
from readmission.dataset.splits import SPLITS, Split
from readmission.evaluation.metrics import score
from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder
from readmission.results import MODEL_TYPES, SEED, Aim
from readmission.schema import LABEL_COLUMN, LABELS, PATIENT_NBR
from readmission.training.decision_rule import fit_decision
from readmission.training.estimators import RELATIVE_COST, make_estimator
from readmission.training.fitting import fit_rows, measure, predict_out_of_fold
from readmission.training.preparation import Arrays, encode_set, to_arrays

Set = tuple[Encoder, Arrays, Arrays]


def make_sets(path: Path, batches: int) -> list[Set]:
    """Make the arrays of every cumulative set: encoder, training and validation rows."""
    keys = read_keys(path)
    groups = gather(keys.patient_nbr, keys.labels, len(LABELS))
    splits = assign_splits(groups, np.full(len(groups.keys), UNASSIGNED, np.int8), SEED)[groups.of_row]
    clean = pa.concat_tables(_clean(pa.Table.from_batches([batch])) for batch in open_batches(path))
    clean = clean.append_column(PATIENT_NBR, pa.array(keys.patient_nbr)).unify_dictionaries().combine_chunks()
    training = np.flatnonzero(splits == SPLITS.index(Split.TRAIN))
    validation = clean.take(pa.array(np.flatnonzero(splits == SPLITS.index(Split.VALIDATION))))
    batch_of = cut_batches(len(training), SEED, None, batches)
    return [
        _make_set(clean.take(pa.array(training[batch_of <= last])), validation)
        for last in range(int(batch_of.max()) + 1)
    ]


def _clean(raw: pa.Table) -> pa.Table:
    return clean_columns(raw).append_column(LABEL_COLUMN, raw.column(LABEL_COLUMN))


def _make_set(train: pa.Table, validation: pa.Table) -> Set:
    encoder, arrays = encode_set(train)
    return encoder, arrays, to_arrays(encoder, validation)


def fit_one(sets: list[Set], boosting: str, threads: int, task: tuple[int, str]) -> float:
    """Fit one model of the grid, out of fold and on all rows, predict and score; return its validation F1."""
    place, model_type = task
    encoder, train, validation = sets[place]

    def make() -> Any:
        if model_type == "gradient_boosting" and boosting == "sklearn":
            return GradientBoostingClassifier(n_estimators=100, max_depth=5, random_state=SEED)
        return make_estimator(model_type, encoder, threads)

    with threadpool_limits(threads):
        truth, out_of_fold = predict_out_of_fold(train, make)
        decision = fit_decision(truth, out_of_fold, Aim())
        score(truth, out_of_fold, decision)
        estimator = fit_rows(make(), train)
        measure(estimator, train, decision, "train_")
        return measure(estimator, validation, decision, "val_")["val_f1_score"]


def run(sets: list[Set], workers: int, threads: int, boosting: str) -> tuple[float, list[float]]:
    """Run the grid; return seconds and scores."""
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
"""Inherited by forked processes, so that arrays are not copied."""


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
