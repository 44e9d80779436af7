"""Figures by group: those of a plain count, with intervals that know how few rows there are."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score, recall_score

from readmission.evaluation.metrics import LT30
from readmission.evaluation.promotion_gate import Floors
from readmission.evaluation.slices import below_floor, measure_slices, slice_columns
from readmission.results import Interval, Slice

ROWS = 3_000
FLOORS = Floors(f1_margin=0.01, max_lt30_ece=0.03, min_f1_ratio=0.75, max_calibration_gap=0.05, min_rows=200)


@pytest.fixture(scope="module")
def part() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(5)
    probabilities = generator.dirichlet([5, 3, 1], ROWS)
    truth = (probabilities.cumsum(axis=1) > generator.random((ROWS, 1))).argmax(axis=1)
    return {
        "race": generator.choice(np.array(["Asian", "Caucasian", None]), ROWS, p=[0.05, 0.85, 0.1]),
        "gender": generator.choice(np.array(["Female", "Male"]), ROWS),
        "age": generator.choice([5, 35, 45, 65, 75, 85, 95], ROWS),
        "probabilities": probabilities,
        "truth": truth.astype(np.int8),
        "predicted": (probabilities * [1, 1.3, 2.5]).argmax(axis=1).astype(np.int8),
        "patients": generator.integers(0, 2_000, ROWS),
    }


def table(part: dict[str, np.ndarray]) -> pa.Table:
    return pa.table(
        {
            "race": pa.array(part["race"].tolist(), pa.string()).dictionary_encode(),
            "gender": pa.array(part["gender"].tolist(), pa.string()),
            "age": pa.array([None if age == 5 else int(age) for age in part["age"]], pa.int32()),
        }
    )


@pytest.fixture(scope="module")
def slices(part: dict[str, np.ndarray]) -> tuple[Slice, ...]:
    return measure_slices(table(part), part["truth"], part["probabilities"], part["predicted"], part["patients"])


def test_every_row_is_in_one_group_of_each_attribute(slices: tuple[Slice, ...]) -> None:
    for attribute in ("race", "gender", "age"):
        assert sum(found.rows for found in slices if found.attribute == attribute) == ROWS
    names = [(found.attribute, found.level) for found in slices]
    assert len(set(names)) == len(names)
    assert ("race", "missing") in names
    assert [level for attribute, level in names if attribute == "age"] == [
        "40 to 59", "60 to 79", "80 and over", "missing", "under 40",
    ]  # fmt: skip


def test_figures_are_those_of_the_rows(slices: tuple[Slice, ...], part: dict[str, np.ndarray]) -> None:
    columns = slice_columns(table(part))
    for found in slices:
        rows = columns[found.attribute] == found.level
        truth, predicted = part["truth"][rows], part["predicted"][rows]
        soon = truth == LT30
        assert found.rows == rows.sum()
        assert found.lt30_rows == soon.sum()
        assert found.f1_score.value == pytest.approx(f1_score(truth, predicted, average="weighted"))
        assert found.lt30_recall is not None
        assert found.lt30_recall.value == pytest.approx(recall_score(soon, predicted == LT30))
        assert found.selection_rate.value == pytest.approx((predicted == LT30).mean())
        gap = part["probabilities"][rows, LT30].mean() - soon.mean()
        assert found.calibration_gap.value == pytest.approx(gap)


def test_intervals_hold_the_figure_and_are_wider_for_few_rows(slices: tuple[Slice, ...]) -> None:
    widths = {}
    for found in slices:
        assert found.lt30_recall is not None
        for figure in (found.f1_score, found.lt30_recall, found.selection_rate, found.calibration_gap):
            assert figure.low <= figure.value <= figure.high
        widths[found.level] = found.f1_score.high - found.f1_score.low
    assert widths["Asian"] > 2 * widths["Caucasian"]


def test_where_nobody_came_back_there_is_no_recall(part: dict[str, np.ndarray]) -> None:
    none = np.where((part["race"] == "Asian") & (part["truth"] == LT30), 0, part["truth"]).astype(np.int8)
    slices = measure_slices(table(part), none, part["probabilities"], part["predicted"], part["patients"])
    assert {found.level: found.lt30_recall is None for found in slices if found.attribute == "race"} == {
        "Asian": True, "Caucasian": False, "missing": False,
    }  # fmt: skip


def test_a_fair_model_is_below_no_floor(slices: tuple[Slice, ...]) -> None:
    assert list(below_floor(slices, 0.55, FLOORS)) == []


def figure(value: float, half: float = 0.01) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def slice_of(rows: int = 1000, f1: float = 0.55, gap: float = 0.0, half: float = 0.01) -> Slice:
    return Slice(
        attribute="race", level="Asian", rows=rows, lt30_rows=100, f1_score=figure(f1, half),
        lt30_recall=figure(0.3), selection_rate=figure(0.2), calibration_gap=figure(gap, half),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (slice_of(f1=0.30), ["F1 0.300 (0.290 to 0.310) is below 75% of the overall 0.550"]),
        (slice_of(f1=0.41), []),
        (slice_of(f1=0.30, half=0.2), []),
        (slice_of(f1=0.30, rows=199), []),
        (slice_of(gap=0.08), ["<30 probabilities are off by 0.080"]),
        (slice_of(gap=-0.08), ["<30 probabilities are off by -0.080"]),
        (slice_of(gap=0.055), []),
        (slice_of(f1=0.30, gap=0.08), ["F1", "<30"]),
    ],
)
def test_only_what_is_surely_below_a_floor_counts(found: Slice, reasons: list[str]) -> None:
    told = list(below_floor((found,), 0.55, FLOORS))
    assert len(told) == len(reasons)
    for line, reason in zip(told, reasons, strict=True):
        assert line.startswith("race Asian (1,000 rows): ")
        assert reason in line
