"""The metrics of ``metrics.score`` that have intervals, under row weights.

Rows are sorted once, so that a thousand resamples are cheap; with all weights 1 the metrics equal those of
scikit-learn.
"""

import numpy as np
import numpy.typing as npt

from readmission.evaluation.metrics import CALIBRATION_BINS, LT30, Labels, Probabilities, equal_mass_bins
from readmission.schema import LABELS

FIGURES = ("f1_score", "f1_macro", "accuracy", "roc_auc_macro", "lt30_roc_auc", "lt30_pr_auc", "lt30_ece")

Vector = npt.NDArray[np.float64]


class WeightedScores:
    """Predictions for n rows, prepared to be scored under any weights."""

    def __init__(self, truth: Labels, probabilities: Probabilities, predicted: Labels) -> None:
        self._cells = truth.astype(np.intp) * len(LABELS) + predicted
        self._classes = [_Ranking(truth == label, probabilities[:, label]) for label in range(len(LABELS))]
        self._bins = equal_mass_bins(probabilities[:, LT30], CALIBRATION_BINS)
        self._excess = probabilities[:, LT30] - (truth == LT30)

    def figures(self, weights: Vector) -> Vector:
        """Metrics under weights of shape (n,), in the order of FIGURES."""
        size = len(LABELS)
        cells = np.bincount(self._cells, weights, size * size).reshape(size, size)
        f1 = 2 * cells.diagonal() / np.maximum(cells.sum(axis=0) + cells.sum(axis=1), 1e-12)
        total = cells.sum()
        sums = [ranking.sums(weights) for ranking in self._classes]
        aucs = [_roc_auc(*both) for both in sums]
        gaps = np.bincount(self._bins, weights * self._excess)
        return np.array(
            [
                cells.sum(axis=1) @ f1 / total,
                f1.mean(),
                cells.trace() / total,
                np.mean(aucs),
                aucs[LT30],
                _average_precision(*sums[LT30]),
                np.abs(gaps).sum() / total,
            ]
        )


class _Ranking:
    """Rows sorted by score, with equal scores grouped."""

    def __init__(self, positive: npt.NDArray[np.bool_], score: Vector) -> None:
        scores, self._place = np.unique(score, return_inverse=True)
        self._size = len(scores)
        self._positive = positive

    def sums(self, weights: Vector) -> tuple[Vector, Vector]:
        """Weight of positive and of negative rows at each score, ascending."""
        positive: Vector = np.bincount(self._place, weights * self._positive, self._size).astype(np.float64)
        every: Vector = np.bincount(self._place, weights, self._size).astype(np.float64)
        return positive, every - positive


def _roc_auc(positive: Vector, negative: Vector) -> float:
    below = np.cumsum(negative) - negative / 2
    pairs = positive.sum() * negative.sum()
    return float(positive @ below / pairs) if pairs else float("nan")


def _average_precision(positive: Vector, negative: Vector) -> float:
    found = np.cumsum(positive[::-1])
    alerts = found + np.cumsum(negative[::-1])
    total = positive.sum()
    if not total:
        return float("nan")
    return float(positive[::-1] @ (found / np.maximum(alerts, 1e-12)) / total)
