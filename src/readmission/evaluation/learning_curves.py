"""Learning curves: the gain of each further batch, with intervals. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from readmission.evaluation.metrics import Labels
from readmission.evaluation.promotion_gate import weighted_f1
from readmission.evaluation.resampling import Groups, draw_weights, interval
from readmission.results import Interval
from readmission.schema import LABELS

STEP_ROWS = 15_000
"""The default batch size, the unit in which the gain is expressed."""

_DRAWS = 300


@dataclass(frozen=True, slots=True)
class Curve:
    """F1 of one type of model on growing training sets, all measured on the same validation rows.

    Attributes:
        model_type: of the models.
        rows: training rows of each, ascending.
        f1_score: weighted F1 of each.
        per_step: gain of F1 per STEP_ROWS rows, the slope of a straight line through all of them.
        last_step: gain from the last set but one to the last; None if there is only one set.
    """

    model_type: str
    rows: tuple[int, ...]
    f1_score: tuple[Interval, ...]
    per_step: Interval | None
    last_step: Interval | None


def learning_curve(
    model_type: str, rows: Sequence[int], predictions: Sequence[Labels], truth: Labels, groups: Groups
) -> Curve:
    """Compute the learning curve of one type.

    Args:
        model_type: of the models.
        rows: training rows of each model, ascending.
        predictions: of each model for the validation rows, shape (n,) each.
        truth: index into LABELS, shape (n,).
        groups: patient of each row, shape (n,).
    """
    cells = [truth.astype(int) * len(LABELS) + predicted for predicted in predictions]
    value = _scores(cells, np.ones(len(truth)))
    drawn = np.array([_scores(cells, weights) for weights in draw_weights(groups, _DRAWS)])
    several = len(rows) > 1
    slopes = _slope(np.array(rows), np.vstack([value, drawn])) if several else np.empty(0)
    return Curve(
        model_type=model_type,
        rows=tuple(rows),
        f1_score=tuple(interval(value[index], drawn[:, index]) for index in range(len(rows))),
        per_step=interval(slopes[0], slopes[1:]) if several else None,
        last_step=interval(value[-1] - value[-2], drawn[:, -1] - drawn[:, -2]) if several else None,
    )


def _scores(cells: Sequence[npt.NDArray[np.integer]], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    size = len(LABELS)
    counts = [np.bincount(cell, weights, size * size).astype(np.float64) for cell in cells]
    return np.array([weighted_f1(count.reshape(size, size)) for count in counts])


def _slope(rows: npt.NDArray[np.int_], scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Least-squares slope of each line of scores, shape (draws, models), per STEP_ROWS rows."""
    steps = (rows - rows.mean()) / STEP_ROWS
    slopes: npt.NDArray[np.float64] = scores @ steps / (steps @ steps)
    return slopes
