"""Measure how good the models are on the real file: ``make bench-quality``. Prints one JSON object as its last line.

For five new split assignments (seeds 1 to 5, or ``--seeds``), every type is fitted on the training split, its decision
rule out of fold on the same rows; the best of the four by validation F1 is measured on the test split, which no fit,
rule or choice within a run uses (docs/benchmarks.md says what development used). It is compared with the requested
recipe: scikit-learn's gradient boosting on label-encoded columns, argmax. For the intervals the patients of the file
are resampled; each figure is the mean over the seeds on the same resample.
"""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from benchmarks.source import real_file
from readmission.dataset.csvfile import open_batches
from readmission.dataset.row_keys import read_keys
from readmission.dataset.split import UNASSIGNED, assign_splits, gather
from readmission.dataset.splits import SPLITS
from readmission.evaluation.metrics import decide, score
from readmission.evaluation.resampling import draw_weights
from readmission.evaluation.weighted import FIGURES, WeightedScores
from readmission.features.columns import clean_columns
from readmission.features.fit import encode_columns
from readmission.model_bundle.files import Decision
from readmission.results import CHALLENGERS, MODEL_TYPES, SEED, Aim
from readmission.schema import LABEL_COLUMN, LABELS, PATIENT_NBR, RECORD_COLUMNS
from readmission.training.decision_rule import fit_decision
from readmission.training.estimators import make_estimator
from readmission.training.fitting import fit_rows, predict_out_of_fold
from readmission.training.model import predict_probabilities
from readmission.training.preparation import encode_set

SEEDS = (1, 2, 3, 4, 5)
Seeds = tuple[int, ...]
REQUESTED = "requested"
WEIGHTED, MACRO = Aim(objective="weighted_f1"), Aim(objective="macro_f1")

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What one type answers on one seed's test split.

    Attributes:
        val_f1: weighted F1 on validation, for the selection.
        probabilities: of the test rows, shape (n, 3).
        weighted, macro: the decision rules.
    """

    val_f1: float
    probabilities: Matrix
    weighted: Decision
    macro: Decision


@dataclass(frozen=True)
class Source:
    """The file in memory, in its order: raw text, clean columns, labels and patients."""

    raw: pa.Table
    clean: pa.Table
    labels: npt.NDArray[np.int8]
    patients: npt.NDArray[np.int64]

    def splits(self, seed: int) -> list[npt.NDArray[np.intp]]:
        """Rows of training, validation and test under a new split assignment."""
        groups = gather(self.patients, self.labels, len(LABELS))
        splits = assign_splits(groups, np.full(len(groups.keys), UNASSIGNED, np.int8), seed)[groups.of_row]
        return [np.flatnonzero(splits == number) for number in range(len(SPLITS))]


def load(path: Path) -> Source:
    """Read and clean the file."""
    keys = read_keys(path)
    raw = pa.Table.from_batches(list(open_batches(path))).unify_dictionaries().combine_chunks()
    clean = clean_columns(raw).append_column(LABEL_COLUMN, raw.column(LABEL_COLUMN))
    clean = clean.append_column(PATIENT_NBR, pa.array(keys.patient_nbr)).unify_dictionaries().combine_chunks()
    return Source(raw, clean, keys.labels, keys.patient_nbr)


def answer(source: Source, seed: int, model_type: str) -> Answers:
    """Fit one type and predict the test split."""
    train, validation, test = source.splits(seed)
    if model_type == REQUESTED:
        return _answer_requested(source, train, validation, test)
    encoder, arrays = encode_set(source.clean.take(pa.array(train)))
    make = partial(make_estimator, model_type, encoder)
    truth, out_of_fold = predict_out_of_fold(arrays, make)
    weighted, macro = (fit_decision(truth, out_of_fold, aim) for aim in (WEIGHTED, MACRO))
    estimator = fit_rows(make(), arrays)
    held_out = [
        predict_probabilities(estimator, encode_columns(encoder, source.clean.take(pa.array(rows))))
        for rows in (validation, test)
    ]
    val_f1 = score(source.labels[validation], held_out[0], weighted)["f1_score"]
    return Answers(val_f1, held_out[1], weighted, macro)


def _answer_requested(source: Source, *splits: npt.NDArray[np.intp]) -> Answers:
    """The requested recipe: text label-encoded, all columns scaled, boosted trees, most likely class."""
    columns = []
    for column in RECORD_COLUMNS:
        values = np.array(source.raw.column(column.name).cast(pa.string()).to_pylist(), object)
        if column.is_number:
            columns.append(values.astype(float))
        else:
            columns.append(OrdinalEncoder().fit_transform(values.reshape(-1, 1)).ravel())
    matrix = np.stack(columns, axis=1)
    train, validation, test = splits
    scaler = StandardScaler().fit(matrix[train])
    boosting = GradientBoostingClassifier(n_estimators=100, max_depth=5, random_state=SEED)
    boosting.fit(scaler.transform(matrix[train]), source.labels[train])
    held_out = [boosting.predict_proba(scaler.transform(matrix[rows])) for rows in (validation, test)]
    val_f1 = score(source.labels[validation], held_out[0], Decision())["f1_score"]
    return Answers(val_f1, held_out[1], Decision(), Decision())


_SOURCE: list[Source] = []
"""Inherited by forked processes, so that data is not copied."""


def _work(task: tuple[int, str]) -> tuple[tuple[int, str], Answers, float]:
    started = time.perf_counter()
    return task, answer(_SOURCE[0], *task), time.perf_counter() - started


def answer_all(source: Source, seeds: Seeds, workers: int) -> dict[tuple[int, str], Answers]:
    """Fit and predict every seed and type, the longest fits first."""
    _SOURCE[:] = [source]
    types = (REQUESTED, *CHALLENGERS, "random_forest", "logistic_regression", "gradient_boosting", "decision_tree")
    tasks = [(seed, name) for name in types for seed in seeds]
    found = {}
    with ProcessPoolExecutor(workers) as pool:  # forked, so that data is not copied
        for number, (task, answers, seconds) in enumerate(pool.map(_work, tasks), 1):
            found[task] = answers
            line = f"{number}/{len(tasks)} seed {task[0]} {task[1]}: {answers.val_f1:.4f} in {seconds:.0f} s"
            print(line, file=sys.stderr, flush=True)
    return found


def choose(answers: dict[tuple[int, str], Answers], seed: int, types: tuple[str, ...]) -> str:
    """Choose the type with the best validation F1."""
    return max(types, key=lambda name: answers[seed, name].val_f1)


def figures(source: Source, seeds: Seeds, answers: dict[tuple[int, str], Answers], draws: int) -> dict[str, Matrix]:
    """Every figure for every resample; the first one is the file itself; shape (draws + 1,) each."""
    wanted = {
        "four": lambda seed: (choose(answers, seed, MODEL_TYPES), "weighted"),
        "macro": lambda seed: (choose(answers, seed, MODEL_TYPES), "macro"),
        "all": lambda seed: (choose(answers, seed, (*MODEL_TYPES, *CHALLENGERS)), "weighted"),
        "all_macro": lambda seed: (choose(answers, seed, (*MODEL_TYPES, *CHALLENGERS)), "macro"),
        REQUESTED: lambda _: (REQUESTED, "weighted"),
    }
    tests = {seed: source.splits(seed)[2] for seed in seeds}
    scorers = {
        (name, seed): _scorer(source, tests[seed], answers[seed, which(seed)[0]], which(seed)[1])
        for name, which in wanted.items()
        for seed in seeds
    }
    resamples = [np.ones(len(source.labels)), *draw_weights(source.patients, draws)]
    return {
        name: np.array(
            [np.mean([scorers[name, seed].figures(w[tests[seed]]) for seed in seeds], axis=0) for w in resamples]
        )
        for name in wanted
    }


def _scorer(source: Source, test: npt.NDArray[np.intp], answers: Answers, rule: str) -> WeightedScores:
    decision: Decision = getattr(answers, rule)
    return WeightedScores(source.labels[test], answers.probabilities, decide(answers.probabilities, decision))


def report(found: dict[str, Matrix]) -> dict[str, dict[str, float]]:
    """Add names and intervals to the figures."""

    def column(name: str, figure: str) -> Matrix:
        return found[name][:, FIGURES.index(figure)]

    requested = column(REQUESTED, "f1_score")
    named = {
        "weighted_f1": column("four", "f1_score"),
        "weighted_f1_gain": column("four", "f1_score") - requested,
        "weighted_f1_challengers": column("all", "f1_score"),
        "weighted_f1_challengers_gain": column("all", "f1_score") - requested,
        "macro_f1": column("macro", "f1_macro"),
        "macro_f1_challengers": column("all_macro", "f1_macro"),
        "roc_auc_ovr": column("four", "roc_auc_macro"),
        "roc_auc_ovr_challengers": column("all", "roc_auc_macro"),
        "lt30_roc_auc": column("four", "lt30_roc_auc"),
        "lt30_roc_auc_challengers": column("all", "lt30_roc_auc"),
        "lt30_pr_auc": column("four", "lt30_pr_auc"),
        "lt30_ece": column("four", "lt30_ece"),
        "requested_weighted_f1": requested,
        "requested_roc_auc_ovr": column(REQUESTED, "roc_auc_macro"),
        "requested_lt30_roc_auc": column(REQUESTED, "lt30_roc_auc"),
    }
    return {name: _shown(values) for name, values in named.items()}


def _shown(values: Matrix) -> dict[str, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {"mean": round(float(values[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="split assignments")
    options = parser.parse_args()
    seeds = tuple(options.seeds)
    started = time.perf_counter()
    source = load(real_file())
    answers = answer_all(source, seeds, os.cpu_count() or 1)
    result: dict[str, object] = {**report(figures(source, seeds, answers, options.draws))}
    result["chosen"] = {seed: choose(answers, seed, (*MODEL_TYPES, *CHALLENGERS)) for seed in seeds}
    result["minutes"] = round((time.perf_counter() - started) / 60, 1)
    result["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
