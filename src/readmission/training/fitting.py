"""Fit one estimator on one prepared set, fit its decision rule out of fold, and measure both."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from lightgbm import LGBMClassifier
from threadpoolctl import threadpool_limits

from readmission.evaluation.metrics import Labels, Probabilities, decide, score
from readmission.model_bundle.files import Decision
from readmission.results import Aim
from readmission.training.decision_rule import fit_decision
from readmission.training.estimators import make_estimator
from readmission.training.folds import FOLDS, draw_folds
from readmission.training.model import FittedModel, predict_probabilities
from readmission.training.preparation import Arrays, PreparedSet, Redrawn

ENOUGH = 40_000
"""Out-of-fold rows that the decision rule needs: it has two parameters, and every fold costs a fit."""

SEEN_BY_A_TREE = 2
"""How often a boosted tree has each row, on average: the number of draws times the share of rows per tree."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes:
        model: raw records in, predictions out.
        metrics: of ``metrics.score`` with the prefixes ``train_``, ``oof_`` (out of fold) and ``val_``, and
            ``fit_seconds`` (of the model itself) and ``decision_seconds`` (of the fits out of fold).
        predictions: for the validation rows, index into LABELS, shape (n,).
    """

    model: FittedModel
    metrics: dict[str, float]
    predictions: Labels


def fit(
    prepared: PreparedSet,
    model_type: str,
    aim: Aim,
    threads: int = 1,
    tuned: Mapping[str, float | int] | None = None,
) -> Fit:
    """Fit and measure.

    Args:
        prepared: the cumulative set.
        model_type: one of ``results.MODEL_TYPES`` or ``results.CHALLENGERS``.
        aim: what the decision rule maximises.
        threads: that the fit may use.
        tuned: parameters of the challenger; None: the defaults.
    """
    with threadpool_limits(threads):
        train, validation = prepared.load("train"), prepared.load("validation")
        make = partial(make_estimator, model_type, prepared.encoder, threads, tuned)
        started = time.perf_counter()
        estimator = fit_rows(make(), train)
        fitted = time.perf_counter()
        truth, out_of_fold = predict_out_of_fold(train, make)
        decision = fit_decision(truth, out_of_fold, aim)
        predicted = predict_probabilities(estimator, validation.matrix)
        metrics = {
            "fit_seconds": fitted - started,
            "decision_seconds": time.perf_counter() - fitted,
            **_prefixed("oof_", score(truth, out_of_fold, decision)),
            **measure(estimator, train, decision, "train_"),
            **_prefixed("val_", score(validation.labels, predicted, decision)),
        }
    model = FittedModel(prepared.encoder_json, estimator, decision.model_dump_json())
    return Fit(model, metrics, decide(predicted, decision))


def fit_rows(estimator: Any, train: Arrays, chosen: npt.NDArray[np.bool_] | slice = slice(None)) -> Any:
    """Fit on training rows; boosted trees get each row several times, with rates from different draws of the folds.

    The rates of a training row depend on the draw of the folds, and hundreds of boosted trees overfit that noise. So
    each tree samples from all draws of all rows, and has each row about twice (measured in docs/benchmarks.md).

    Args:
        estimator: unfitted.
        train: n training rows.
        chosen: indices of the rows to fit on; all by default.

    Returns:
        the estimator.
    """
    matrix, labels = train.matrix[chosen], train.labels[chosen]
    if isinstance(estimator, LGBMClassifier) and train.redrawn is not None:
        draws = min(round(SEEN_BY_A_TREE / estimator.subsample), 1 + len(train.redrawn.rates))
        matrix, labels = _under_draws(matrix, train.redrawn, chosen, draws), np.tile(labels, draws)
    return estimator.fit(matrix, labels)


def _under_draws(
    matrix: npt.NDArray[np.float32], redrawn: Redrawn, chosen: npt.NDArray[np.bool_] | slice, draws: int
) -> npt.NDArray[np.float32]:
    """The rows of a matrix with the rates of several draws, one draw after the other."""
    rows = np.tile(matrix, (draws, 1))
    for block, rates in zip(np.split(rows, draws)[1:], redrawn.rates, strict=False):
        block[:, redrawn.columns] = rates[chosen]
    return rows


def predict_out_of_fold(train: Arrays, make: Callable[[], Any], enough: int = ENOUGH) -> tuple[Labels, Probabilities]:
    """Predict training rows with models that were fitted on other patients' rows.

    Args:
        train: n training rows.
        make: makes an unfitted estimator.
        enough: stop after the fold with which this many rows are predicted.

    Returns:
        truth, shape (m,), and probabilities, shape (m, 3), fold after fold; m = n if ``enough`` is not reached.
    """
    folds = draw_folds(train.groups)
    truth, predictions = [], []
    for fold in range(FOLDS):
        held_out = folds == fold
        estimator = fit_rows(make(), train, ~held_out)
        truth.append(train.labels[held_out])
        predictions.append(predict_probabilities(estimator, train.matrix[held_out]))
        if sum(map(len, truth)) >= enough:
            break
    return np.concatenate(truth), np.concatenate(predictions)


def measure(estimator: Any, arrays: Arrays, decision: Decision, prefix: str) -> dict[str, float]:
    """Metrics of a split, with a prefix to their names."""
    return _prefixed(prefix, score(arrays.labels, predict_probabilities(estimator, arrays.matrix), decision))


def _prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in metrics.items()}
