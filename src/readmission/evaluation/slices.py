"""Slices: metrics by race, gender and age group, with counts and intervals."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from fairlearn.metrics import MetricFrame, count, selection_rate
from sklearn.metrics import f1_score, recall_score

from readmission.evaluation.metrics import LT30, Labels, Probabilities
from readmission.evaluation.promotion_gate import Floors
from readmission.evaluation.resampling import Groups, draw_weights, interval
from readmission.results import Interval, Slice
from readmission.schema import LABELS

MISSING_LEVEL = "missing"
AGE_GROUPS = ((0, "under 40"), (40, "40 to 59"), (60, "60 to 79"), (80, "80 and over"))
"""First year and name of each age group."""

_FIGURES = ("f1_score", "lt30_recall", "selection_rate", "calibration_gap")
_DRAWS = 500

Vector = npt.NDArray[np.float64]


def slice_columns(clean: pa.Table) -> dict[str, npt.NDArray[np.object_]]:
    """Name of each row's group, by attribute; shape (n,) each."""
    age = clean.column("age").fill_null(-1).to_numpy()
    starts = [start for start, _ in AGE_GROUPS]
    names = np.array([MISSING_LEVEL, *(name for _, name in AGE_GROUPS)], object)
    return {
        "race": _texts(clean, "race"),
        "gender": _texts(clean, "gender"),
        "age": names[np.searchsorted(starts, age, side="right")],
    }


def _texts(clean: pa.Table, name: str) -> npt.NDArray[np.object_]:
    texts: npt.NDArray[np.object_] = clean.column(name).cast(pa.string()).fill_null(MISSING_LEVEL).to_numpy()
    return texts


def measure_slices(
    clean: pa.Table, truth: Labels, probabilities: Probabilities, predicted: Labels, groups: Groups
) -> tuple[Slice, ...]:
    """Measure every group of every attribute.

    Args:
        clean: the rows, n of them.
        truth, predicted: index into LABELS, shape (n,).
        probabilities: shape (n, 3).
        groups: patient of each row, shape (n,).

    Returns:
        the slices, by attribute and name.
    """
    found: list[Slice] = []
    for attribute, names in slice_columns(clean).items():
        levels, level_of_row = np.unique(names.astype(str), return_inverse=True)
        frame = _frame(truth, probabilities, predicted, names)
        rows = _Rows(truth, probabilities[:, LT30], predicted, level_of_row, len(levels))
        draws = np.array([rows.figures(weights) for weights in draw_weights(groups, _DRAWS)])
        found += [
            _slice(attribute, str(level), frame.loc[level], draws[:, :, index]) for index, level in enumerate(levels)
        ]
    return tuple(found)


def _slice(attribute: str, level: str, figures: pd.Series, draws: npt.NDArray[np.float64]) -> Slice:
    """Combine the metrics of one group with their resamples, shape (draws, 4)."""
    lt30_rows = int(figures["lt30_rows"])
    intervals = {
        name: interval(float(figures[name]), draws[:, column])
        for column, name in enumerate(_FIGURES)
        if lt30_rows or name != "lt30_recall"
    }
    return Slice(
        attribute=attribute,
        level=level,
        rows=int(figures["rows"]),
        lt30_rows=lt30_rows,
        f1_score=intervals["f1_score"],
        lt30_recall=intervals.get("lt30_recall"),
        selection_rate=intervals["selection_rate"],
        calibration_gap=intervals["calibration_gap"],
    )


def _frame(
    truth: Labels, probabilities: Probabilities, predicted: Labels, names: npt.NDArray[np.object_]
) -> pd.DataFrame:
    """The metrics, by fairlearn: one row per level."""
    soon, alert, likely = truth == LT30, predicted == LT30, probabilities[:, LT30]
    every = list(range(len(LABELS)))
    classes = MetricFrame(
        metrics={
            "rows": count,
            "f1_score": lambda y, p: f1_score(y, p, labels=every, average="weighted", zero_division=0.0),
        },
        y_true=truth,
        y_pred=predicted,
        sensitive_features=names,
    )
    alerts = MetricFrame(
        metrics={
            "lt30_recall": lambda y, p: recall_score(y, p, zero_division=0.0),
            "selection_rate": selection_rate,
            "lt30_rows": lambda y, _: int(np.sum(y)),
        },
        y_true=soon,
        y_pred=alert,
        sensitive_features=names,
    )
    calibration = MetricFrame(
        metrics={"calibration_gap": lambda y, p: float(np.mean(p) - np.mean(y))},
        y_true=soon,
        y_pred=likely,
        sensitive_features=names,
    )
    frames: list[pd.DataFrame] = [frame.by_group for frame in (classes, alerts, calibration)]
    return pd.concat(frames, axis=1)


class _Rows:
    """The same metrics under row weights, for the intervals: counts by level, true and predicted class."""

    def __init__(
        self, truth: Labels, likely: Vector, predicted: Labels, level_of_row: npt.NDArray[np.intp], levels: int
    ) -> None:
        size = len(LABELS)
        self._shape = (levels, size, size)
        self._cell = (level_of_row * size + truth) * size + predicted
        self._level = level_of_row
        self._excess = likely - (truth == LT30)

    def figures(self, weights: Vector) -> npt.NDArray[np.float64]:
        """Metrics in the order of _FIGURES by level; shape (4, levels); NaN for a level that was not drawn."""
        cells = np.bincount(self._cell, weights, int(np.prod(self._shape))).reshape(self._shape)
        true, predicted, right = cells.sum(axis=2), cells.sum(axis=1), cells.diagonal(axis1=1, axis2=2)
        total = true.sum(axis=1)
        excess = np.bincount(self._level, weights * self._excess, len(total))
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = np.nan_to_num(2 * right / (true + predicted))
            return np.array(
                [
                    (true * f1).sum(axis=1) / total,
                    right[:, LT30] / true[:, LT30],
                    predicted[:, LT30] / total,
                    excess / total,
                ]
            )


def below_floor(slices: tuple[Slice, ...], overall_f1: float, floors: Floors) -> Iterator[str]:
    """Reasons against a model: slices whose whole interval is beyond a limit, so that chance alone is no reason."""
    for found in slices:
        if found.rows < floors.min_rows:
            continue
        who = f"{found.attribute} {found.level} ({found.rows:,} rows)"
        if found.f1_score.high < floors.min_f1_ratio * overall_f1:
            share = f"{floors.min_f1_ratio:.0%} of the overall {overall_f1:.3f}"
            yield f"{who}: F1 {_shown(found.f1_score)} is below {share}"
        gap = found.calibration_gap
        if max(gap.low, -gap.high) > floors.max_calibration_gap:
            yield f"{who}: <30 probabilities are off by {_shown(gap)}, more than {floors.max_calibration_gap}"


def _shown(figure: Interval) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
