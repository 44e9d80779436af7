"""Compare alternative features and parameters of the boosted trees: ``make bench-choices``.

For each split assignment only the training split is used: every alternative is fitted on two thirds of its patients,
rates included, and compared with the current model by log loss on the others. So validation and test rows do not
influence the choice. Prints a table and one JSON object as its last line.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.pipeline import say
from benchmarks.quality import Source, load
from benchmarks.source import real_file
from readmission.evaluation.metrics import score
from readmission.features.comorbidity import CONDITIONS
from readmission.features.encoder import Encoder, RateFeature
from readmission.features.fit import encode_columns
from readmission.features.rules import DERIVED
from readmission.results import Aim
from readmission.training.decision_rule import fit_decision
from readmission.training.estimators import make_estimator
from readmission.training.fitting import fit_rows
from readmission.training.folds import draw_folds
from readmission.training.model import predict_probabilities
from readmission.training.preparation import Arrays, encode_set

SEEDS = (1, 2, 3)
"""Seeds whose validation and test rows were used in early comparisons of features and parameters."""

JUDGED_FOLDS = 2
"""Of three folds; one is enough to compare alternatives in a third of the time."""

AS_IT_IS = "as it is"
FIGURES = ("log_loss", "roc_auc_macro", "f1_score", "f1_macro")

Change = Callable[[Encoder, Arrays, pa.Table], Arrays]


@dataclass(frozen=True)
class Choice:
    """One way to fit boosted trees.

    Attributes:
        name: what is different.
        params: of LightGBM, instead of the current ones.
        change: makes other arrays of a training set; None: the current ones.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None


def _without(names: Iterable[str]) -> Change:
    """Make columns constant: LightGBM removes constant columns before it samples features."""
    hidden = frozenset(names)
    return partial(_blind, lambda feature: feature.name in hidden)


def _blind(chosen: Callable[[Any], bool], encoder: Encoder, arrays: Arrays, _: pa.Table) -> Arrays:
    matrix = np.array(arrays.matrix)
    matrix[:, [chosen(feature) for feature in encoder.features]] = 0
    keeps_rates = arrays.redrawn is not None and not chosen(encoder.features[arrays.redrawn.columns[0]])
    return replace(arrays, matrix=matrix, redrawn=arrays.redrawn if keeps_rates else None)


def _own_outcomes(encoder: Encoder, arrays: Arrays, clean: pa.Table) -> Arrays:
    """Rates from all training rows, including the row's own outcome."""
    return replace(arrays, matrix=encode_columns(encoder, clean), redrawn=None)


_ALL_ROWS: dict[str, Any] = {"subsample": 1.0}
_ONE_DRAW = {**_ALL_ROWS, "min_child_samples": 100, "reg_lambda": 10.0}
"""Halve parameters that count rows, if a tree has each row once."""

FEATURES = (
    Choice("without rates", _ONE_DRAW, partial(_blind, lambda feature: isinstance(feature, RateFeature))),
    Choice("rates that see the row's own outcome", _ONE_DRAW, _own_outcomes),
    Choice("rates drawn once", _ONE_DRAW, lambda _, arrays, __: replace(arrays, redrawn=None)),
    Choice("rates drawn twice", _ALL_ROWS),
    Choice("without comorbidities", change=_without(CONDITIONS)),
    Choice("without sums and intensities", change=_without({item.name for item in DERIVED} - set(CONDITIONS))),
)

PARAMS: dict[str, tuple[Choice, ...]] = {
    "gradient_boosting": (
        Choice("min_child_samples 50", {"min_child_samples": 50}),
        Choice("min_child_samples 800", {"min_child_samples": 800}),
        Choice("reg_lambda 1", {"reg_lambda": 1.0}),
        Choice("reg_lambda 100", {"reg_lambda": 100.0}),
        Choice("colsample_bytree 0.25", {"colsample_bytree": 0.25}),
        Choice("colsample_bytree 1", {"colsample_bytree": 1.0}),
        Choice("max_bin 255", {"max_bin": 255}),
    ),
    "tuned_boosting": (
        Choice("800 trees, learning_rate 0.015", {"n_estimators": 800, "learning_rate": 0.015}),
        Choice("200 trees, learning_rate 0.06", {"n_estimators": 200, "learning_rate": 0.06}),
        Choice("depth 4, 12 leaves", {"max_depth": 4, "num_leaves": 12}),
        Choice("depth 8, 48 leaves", {"max_depth": 8, "num_leaves": 48}),
        Choice("colsample_bytree 0.6", {"colsample_bytree": 0.6}),
        Choice("min_child_samples 50", {"min_child_samples": 50}),
        Choice("min_child_samples 800", {"min_child_samples": 800}),
        Choice("reg_lambda 1", {"reg_lambda": 1.0}),
        Choice("reg_lambda 100", {"reg_lambda": 100.0}),
    ),
}


def choices_of(model_type: str) -> dict[str, Choice]:
    """All ways to fit a type, by name; features are compared under the type that is always trained."""
    features = FEATURES if model_type == "gradient_boosting" else ()
    return {choice.name: choice for choice in (Choice(AS_IT_IS), *features, *PARAMS[model_type])}


def judge(source: Source, seed: int, model_type: str, name: str) -> list[float]:
    """Fit one alternative on part of a seed's training split and score it on the rest; returns FIGURES."""
    choice = choices_of(model_type)[name]
    rows = source.splits(seed)[0]
    folds = draw_folds(source.patients[rows])
    truths, told = [], []
    for fold in range(JUDGED_FOLDS):
        clean, held_out = (source.clean.take(pa.array(rows[chosen])) for chosen in (folds != fold, folds == fold))
        encoder, arrays = encode_set(clean)
        if choice.change is not None:
            arrays = choice.change(encoder, arrays, clean)
        estimator = fit_rows(make_estimator(model_type, encoder).set_params(**choice.params), arrays)
        truths.append(source.labels[rows[folds == fold]])
        told.append(predict_probabilities(estimator, encode_columns(encoder, held_out)))
    truth, answers = np.concatenate(truths), np.concatenate(told)
    log_loss = -float(np.log(answers[np.arange(len(truth)), truth]).mean())
    weighted, macro = (
        score(truth, answers, fit_decision(truth, answers, Aim(objective=objective)))
        for objective in ("weighted_f1", "macro_f1")
    )
    return [log_loss, weighted["roc_auc_macro"], weighted["f1_score"], macro["f1_macro"]]


_SOURCE: list[Source] = []
"""Inherited by forked processes, so that data is not copied."""


def _work(model_type: str, task: tuple[int, str]) -> list[float]:
    return judge(_SOURCE[0], task[0], model_type, task[1])


def measure(seeds: tuple[int, ...], model_type: str) -> dict[str, Any]:
    """Score every alternative on every seed."""
    _SOURCE[:] = [load(real_file())]
    names = list(choices_of(model_type))
    tasks = [(seed, name) for seed in seeds for name in names]
    found: list[list[float]] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:  # forked, so that data is not copied
        for (seed, name), figures in zip(tasks, pool.map(partial(_work, model_type), tasks), strict=True):
            found.append(figures)
            say(f"{len(found)}/{len(tasks)} seed {seed}, {name}: log loss {figures[0]:.5f}")
    return dict(zip(names, np.array(found).reshape(len(seeds), len(names), -1).swapaxes(0, 1), strict=True))


def compare(found: dict[str, npt.NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """Compare each alternative with the current model, on the same rows.

    Args:
        found: by name, shape (seeds, figures).

    Returns:
        by name, the mean of each figure (of "as it is") or of its difference, and ``better_on``: on how many seeds the
        log loss is lower.
    """
    base = found[AS_IT_IS]
    table: dict[str, dict[str, float]] = {}
    for name, values in found.items():
        shown = values if name == AS_IT_IS else values - base
        means = {figure: round(float(mean), 5) for figure, mean in zip(FIGURES, shown.mean(axis=0), strict=True)}
        table[name] = {**means, "better_on": int((values[:, 0] < base[:, 0]).sum())}
    return table


def show(table: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    print(f"{'':38}" + "".join(f"{name:>15}" for name in (*FIGURES, "better on")))
    for name, row in table.items():
        sign = "" if name == AS_IT_IS else "+"
        print(f"{name:38}" + "".join(f"{row[f]:>{sign}15.5f}" for f in FIGURES) + f"{row['better_on']:>15}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="split assignments")
    parser.add_argument("--model-type", choices=sorted(PARAMS), default="gradient_boosting")
    options = parser.parse_args()
    started = time.perf_counter()
    table = compare(measure(tuple(options.seeds), options.model_type))
    show(table)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(json.dumps({"choices": table, "seconds": round(time.perf_counter() - started), "machine": machine}))


if __name__ == "__main__":
    main()
