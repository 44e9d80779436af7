"""Fit one estimator on one prepared set and measure it on training and validation rows."""

import time
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from readmission.bundle import Decision
from readmission.training.estimators import make_estimator
from readmission.training.metrics import score
from readmission.training.model import FittedModel, predict_probabilities
from readmission.training.prepare import Arrays, PreparedSet


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes:
        model: raw records in, answers out.
        metrics: of ``metrics.score`` with the prefixes ``train_`` and ``val_``, and ``fit_seconds``.
    """

    model: FittedModel
    metrics: dict[str, float]


def fit(prepared: PreparedSet, model_type: str, threads: int = 1) -> Fit:
    """Fit and measure.

    Args:
        prepared: the cumulative set.
        model_type: one of ``results.MODEL_TYPES``.
        threads: that the fit may use.
    """
    with threadpool_limits(threads):
        train, validation = prepared.load("train"), prepared.load("validation")
        estimator = make_estimator(model_type, prepared.encoder, threads)
        started = time.perf_counter()
        estimator.fit(train.matrix, train.labels)
        seconds = time.perf_counter() - started
        decision = Decision()
        metrics = {
            **measure(estimator, train, decision, "train_"),
            **measure(estimator, validation, decision, "val_"),
            "fit_seconds": seconds,
        }
    return Fit(FittedModel(prepared.encoder_json, estimator, decision.model_dump_json()), metrics)


def measure(estimator: Any, arrays: Arrays, decision: Decision, prefix: str) -> dict[str, float]:
    """Score a part, names prefixed."""
    probabilities = predict_probabilities(estimator, arrays.matrix)
    return {prefix + name: value for name, value in score(arrays.labels, probabilities, decision).items()}
