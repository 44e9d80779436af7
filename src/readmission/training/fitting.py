"""Fit one estimator on one prepared set, fit its decision rule out of fold, and measure both."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from readmission.bundle import Decision
from readmission.results import Aim
from readmission.schema import LABELS
from readmission.training.decision import fit_decision
from readmission.training.estimators import make_estimator
from readmission.training.folds import FOLDS, draw_folds
from readmission.training.metrics import Labels, Probabilities, decide, score
from readmission.training.model import FittedModel, predict_probabilities
from readmission.training.prepare import Arrays, PreparedSet


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes:
        model: raw records in, answers out.
        metrics: of ``metrics.score`` with the prefixes ``train_``, ``oof_`` (out of fold) and ``val_``, and
            ``fit_seconds`` (of the model itself) and ``decision_seconds`` (of the fits out of fold).
        answers: to the validation rows, position in LABELS, shape (n,).
    """

    model: FittedModel
    metrics: dict[str, float]
    answers: Labels


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
        aim: what the decision rule is for.
        threads: that the fit may use.
        tuned: parameters of the challenger; None: the project's own.
    """
    with threadpool_limits(threads):
        train, validation = prepared.load("train"), prepared.load("validation")
        make = partial(make_estimator, model_type, prepared.encoder, threads, tuned)
        started = time.perf_counter()
        estimator = make().fit(train.matrix, train.labels)
        fitted = time.perf_counter()
        out_of_fold = predict_out_of_fold(train, make)
        decision = fit_decision(train.labels, out_of_fold, aim)
        told = predict_probabilities(estimator, validation.matrix)
        metrics = {
            "fit_seconds": fitted - started,
            "decision_seconds": time.perf_counter() - fitted,
            **_prefixed("oof_", score(train.labels, out_of_fold, decision)),
            **measure(estimator, train, decision, "train_"),
            **_prefixed("val_", score(validation.labels, told, decision)),
        }
    model = FittedModel(prepared.encoder_json, estimator, decision.model_dump_json())
    return Fit(model, metrics, decide(told, decision))


def predict_out_of_fold(train: Arrays, make: Callable[[], Any]) -> Probabilities:
    """Answer every training row by a model that saw none of its patient's rows.

    Args:
        train: n training rows.
        make: makes an unfitted estimator.

    Returns:
        probabilities, shape (n, 3).
    """
    folds = draw_folds(train.groups)
    probabilities = np.empty((len(train.labels), len(LABELS)))
    for fold in range(FOLDS):
        held_out = folds == fold
        estimator = make().fit(train.matrix[~held_out], train.labels[~held_out])
        probabilities[held_out] = predict_probabilities(estimator, train.matrix[held_out])
    return probabilities


def measure(estimator: Any, arrays: Arrays, decision: Decision, prefix: str) -> dict[str, float]:
    """Score a part, names prefixed."""
    return _prefixed(prefix, score(arrays.labels, predict_probabilities(estimator, arrays.matrix), decision))


def _prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in metrics.items()}
