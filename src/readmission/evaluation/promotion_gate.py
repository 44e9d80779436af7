"""The promotion gate: may a challenger replace the champion? Pure functions that return reasons against it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from readmission.evaluation.metrics import LT30, Labels, Probabilities, calibration_error
from readmission.evaluation.resampling import Groups, bootstrap
from readmission.results import Interval
from readmission.schema import LABELS

MIN_COMMON_ROWS = 300
"""Fewest rows that neither model was trained on; a comparison on fewer is too uncertain."""

_SIMULATIONS = 200


@dataclass(frozen=True, slots=True)
class Floors:
    """Limits that a model must meet to be published.

    Attributes:
        f1_margin: largest loss of weighted F1, compared with the lower end of the interval.
        max_lt30_ece: largest calibration error of the probability of ``<30``.
        min_f1_ratio: smallest share of the overall F1 that a group may have.
        max_calibration_gap: largest difference of mean probability and share of ``<30`` within a group.
        min_rows: rows that a group needs to be judged.
    """

    f1_margin: float
    max_lt30_ece: float
    min_f1_ratio: float
    max_calibration_gap: float
    min_rows: int


def f1_difference(truth: Labels, champion: Labels, challenger: Labels, groups: Groups) -> Interval:
    """Challenger's weighted F1 minus the champion's, on the same rows, patients resampled.

    Args:
        truth, champion, challenger: index into LABELS, shape (n,).
        groups: patient of each row, shape (n,).
    """
    size = len(LABELS)
    cells = (truth.astype(int) * size + champion) * size + challenger

    def difference(weights: npt.NDArray[np.float64]) -> float:
        counts = np.bincount(cells, weights, size**3).reshape(size, size, size)
        return weighted_f1(counts.sum(axis=1)) - weighted_f1(counts.sum(axis=2))

    return bootstrap(difference, groups)


def weighted_f1(confusion: npt.NDArray[np.float64]) -> float:
    """Weighted F1 of a confusion matrix, true classes in its rows; shape (3, 3)."""
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * confusion.diagonal() / np.maximum(true + predicted, 1e-12)
    return float(true @ f1 / true.sum())


def against_inferiority(difference: Interval, margin: float) -> Iterator[str]:
    """Reason against a challenger that may be worse than the champion by more than the margin."""
    if difference.low <= -margin:
        yield (
            f"F1 against production: {difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}) on the"
            f" same rows; the lower end must be above {-margin:+.4f}"
        )


def against_calibration(truth: Labels, probabilities: Probabilities, limit: float) -> Iterator[str]:
    """Reason against a model whose calibration error of ``<30`` exceeds the limit and what chance explains.

    Even a perfectly calibrated model has an error on a finite number of rows; outcomes drawn from its own probabilities
    show how much.
    """
    likely = probabilities[:, LT30]
    error = calibration_error(truth == LT30, likely)
    generator = np.random.default_rng(0)
    by_chance = [calibration_error(generator.random(len(likely)) < likely, likely) for _ in range(_SIMULATIONS)]
    allowed = max(limit, float(np.quantile(by_chance, 0.975)))
    if error > allowed:
        yield f"calibration error of <30 is {error:.4f}, more than {allowed:.4f}"


def against_synthetic(challenger_kind: str, champion_kind: str | None) -> Iterator[str]:
    """Reason against a model of synthetic records that would replace one of real records."""
    if challenger_kind == "synthetic" and champion_kind == "real":
        yield "trained on synthetic records, while production was trained on real ones"
