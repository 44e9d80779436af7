"""The gate's reasons, each where it must object and where it must not."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from readmission.evaluation.promotion_gate import (
    against_calibration,
    against_inferiority,
    against_synthetic,
    f1_difference,
)
from readmission.results import Interval

ROWS = 4_000


def answers(seed: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.choice(3, ROWS, p=[0.54, 0.35, 0.11]).astype(np.int8)
    guess = generator.choice(3, ROWS).astype(np.int8)
    return truth, np.where(np.random.default_rng(seed + 1).random(ROWS) < right, truth, guess).astype(np.int8)


def test_the_difference_is_that_of_scikit_learn() -> None:
    truth, champion = answers(1, 0.5)
    challenger = answers(1, 0.6)[1]
    found = f1_difference(truth, champion, challenger, np.arange(ROWS))
    expected = [f1_score(truth, predicted, average="weighted") for predicted in (challenger, champion)]
    assert found.value == pytest.approx(expected[0] - expected[1])
    assert found.low < found.value < found.high


def test_a_model_is_not_inferior_to_itself() -> None:
    truth, predicted = answers(2, 0.5)
    found = f1_difference(truth, predicted, predicted, np.arange(ROWS))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert list(against_inferiority(found, 0.01)) == []


@pytest.mark.parametrize(("low", "objects"), [(-0.0101, True), (-0.01, True), (-0.0099, False), (0.02, False)])
def test_the_lower_end_decides(low: float, objects: bool) -> None:
    found = list(against_inferiority(Interval(value=0.03, low=low, high=0.05), 0.01))
    assert bool(found) == objects
    assert not found or "-0.0100" in found[0]


def soon(seed: int, rows: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes drawn from probabilities, which are then said to be higher by ``shift``."""
    generator = np.random.default_rng(seed)
    likely = generator.beta(2, 14, rows)
    truth = np.where(generator.random(rows) < likely, 2, 0).astype(np.int8)
    told = np.clip(likely + shift, 0, 1)
    return truth, np.stack([1 - told, np.zeros(rows), told], axis=1)


@pytest.mark.parametrize("rows", [200, 1_000, 15_000])
def test_calibrated_probabilities_pass_however_few(rows: int) -> None:
    objected = sum(bool(list(against_calibration(*soon(seed, rows, 0.0), limit=0.01))) for seed in range(20))
    assert objected <= 3


def test_probabilities_that_are_off_do_not() -> None:
    (reason,) = against_calibration(*soon(1, 15_000, 0.06), limit=0.03)
    assert "calibration error" in reason
    assert list(against_calibration(*soon(1, 15_000, 0.02), limit=0.03)) == []


@pytest.mark.parametrize(
    ("challenger", "champion", "objects"),
    [
        ("synthetic", "real", True),
        ("synthetic", "synthetic", False),
        ("real", "real", False),
        ("real", "synthetic", False),
        ("synthetic", None, False),
    ],
)
def test_synthetic_records_never_replace_real_ones(challenger: str, champion: str | None, objects: bool) -> None:
    assert bool(list(against_synthetic(challenger, champion))) == objects
