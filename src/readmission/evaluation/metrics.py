"""Metrics of three-class predictions, under the names that MLflow shows."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from readmission.model_bundle.files import Decision
from readmission.schema import LABELS

LT30 = LABELS.index("<30")
CALIBRATION_BINS = 15

Labels = npt.NDArray[np.int8]
Probabilities = npt.NDArray[np.float64]


def decide(probabilities: Probabilities, decision: Decision) -> Labels:
    """Choose a class for each row, like ``Decision.choose`` for one row.

    Args:
        probabilities: shape (n, 3).
        decision: the rule.

    Returns:
        index into LABELS, shape (n,).
    """
    chosen: Labels = np.argmax(probabilities * np.array(decision.weights) - np.array(decision.offsets), axis=1).astype(
        np.int8
    )
    return chosen


def score(truth: Labels, probabilities: Probabilities, decision: Decision) -> dict[str, float]:
    """Compute every metric of a split.

    Args:
        truth: index into LABELS, shape (n,).
        probabilities: shape (n, 3).
        decision: rule that chooses the class.

    Returns:
        ``accuracy``, ``precision``, ``recall``, ``f1_score`` (weighted), ``f1_macro``, ``roc_auc`` (one-vs-rest,
        weighted), ``roc_auc_macro``, ``lt30_roc_auc``, ``lt30_pr_auc``, ``lt30_ece``; NaN if a class is absent.
    """
    predicted = decide(probabilities, decision)
    every = range(len(LABELS))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=list(every), average=None, zero_division=0.0
    )
    share = support / support.sum()
    aucs = np.array([_one_vs_rest(truth == label, probabilities[:, label]) for label in every])
    soon = truth == LT30
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "precision": float(share @ precision),
        "recall": float(share @ recall),
        "f1_score": float(share @ f1),
        "f1_macro": float(f1.mean()),
        "roc_auc": float(share @ aucs),
        "roc_auc_macro": float(aucs.mean()),
        "lt30_roc_auc": float(aucs[LT30]),
        "lt30_pr_auc": float(average_precision_score(soon, probabilities[:, LT30])) if soon.any() else float("nan"),
        "lt30_ece": calibration_error(soon, probabilities[:, LT30]),
    }


def _one_vs_rest(positive: npt.NDArray[np.bool_], score: Probabilities) -> float:
    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, score))


def calibration_error(positive: npt.NDArray[np.bool_], score: Probabilities, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error over bins of equal mass (Nguyen and O'Connor 2015, arXiv:1508.05154).

    Args:
        positive: whether the class is the true one, shape (n,).
        score: probability of the positive class, shape (n,).
        bins: number of bins.

    Returns:
        mean |observed share - mean probability| over the bins, weighted by their rows.
    """
    gaps = np.bincount(equal_mass_bins(score, bins), score - positive)
    return float(np.abs(gaps).sum() / len(score))


def equal_mass_bins(score: Probabilities, bins: int) -> npt.NDArray[np.intp]:
    """Sort rows into bins of equal size by their score; return the bin of each row, shape (n,)."""
    found = np.empty(len(score), np.intp)
    for number, rows in enumerate(np.array_split(np.argsort(score, kind="stable"), bins)):
        found[rows] = number
    return found
