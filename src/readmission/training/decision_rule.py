"""Fit the decision rule, which chooses a class from calibrated probabilities without changing them.

A sum of F1 scores is largest under a rule that predicts the class with the largest ``gain * (probability - F1 / 2)``,
where F1 is the class's own at the optimum (Narasimhan et al. 2015, "Consistent multiclass algorithms for complex
performance measures"; Lipton et al. 2014, arXiv:1402.1892, for one class). The rule depends on F1 and F1 on the
rule, so they are computed by fixed-point iteration; there is no search, and little to overfit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from readmission.evaluation.metrics import LT30, Labels, Probabilities, decide
from readmission.model_bundle.files import Decision
from readmission.results import Aim, Objective
from readmission.schema import LABELS

_ROUNDS = 80
_UNDAMPED = 5

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts by class under one rule; each of shape (3,)."""

    true: Vector
    predicted: Vector
    right: Vector

    @property
    def f1(self) -> Vector:
        return 2 * self.right / np.maximum(self.true + self.predicted, 1)


def fit_decision(truth: Labels, probabilities: Probabilities, aim: Aim) -> Decision:
    """Fit the rule on predictions for rows that the model was not trained on.

    Args:
        truth: index into LABELS, shape (n,).
        probabilities: out of fold, shape (n, 3).
        aim: what to maximise.
    """
    if aim.objective == "lt30_recall":
        return _alert(probabilities, aim.alert_rate)
    return _fit_f1(truth, probabilities, aim.objective)


def _fit_f1(truth: Labels, probabilities: Probabilities, objective: Objective) -> Decision:
    true = np.bincount(truth, minlength=len(LABELS)).astype(float)
    share = true / true.sum() if objective == "weighted_f1" else np.full(len(LABELS), 1 / len(LABELS))
    rule = best = Decision(rule=objective)
    best_score = -1.0
    for number in range(_ROUNDS):
        counts = _count(truth, decide(probabilities, rule), true)
        score = float(share @ counts.f1)
        if score > best_score:
            best, best_score = rule, score
        rule = _next_rule(rule, share, counts, 1.0 if number < _UNDAMPED else 0.5)
    return best


def _next_rule(rule: Decision, share: Vector, counts: _Counts, step: float) -> Decision:
    """Take one step towards the rule that is optimal for the current F1 scores."""
    gain = 2 * share / np.maximum(counts.true + counts.predicted, 1)
    gain /= gain.max()  # only the ratios of the weights matter
    offset = gain * counts.f1 / 2
    weights = np.array(rule.weights) + step * (gain - np.array(rule.weights))
    offsets = np.array(rule.offsets) + step * (offset - np.array(rule.offsets))
    return Decision(rule=rule.rule, weights=tuple(weights.tolist()), offsets=tuple(offsets.tolist()))


def _count(truth: Labels, predicted: Labels, true: Vector) -> _Counts:
    size = len(LABELS)
    right = np.bincount(truth[predicted == truth], minlength=size).astype(float)
    return _Counts(true, np.bincount(predicted, minlength=size).astype(float), right)


def _alert(probabilities: Probabilities, alert_rate: float) -> Decision:
    """Predict ``<30`` for the share of rows with its highest probability, else the likelier of the other classes.

    By the Neyman-Pearson lemma no other rule with that share of alerts has a higher recall.
    """
    threshold = float(np.quantile(probabilities[:, LT30], 1 - alert_rate))
    # Far above any other score: above the threshold this class is always predicted, below it never.
    weights = [1.0] * len(LABELS)
    offsets = [0.0] * len(LABELS)
    weights[LT30] = _ALERT_WEIGHT
    offsets[LT30] = _ALERT_WEIGHT * threshold
    return Decision(rule="lt30_recall", weights=tuple(weights), offsets=tuple(offsets))


_ALERT_WEIGHT = 1e6
