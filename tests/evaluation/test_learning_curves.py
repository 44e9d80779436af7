"""What each further batch brings, with intervals over patients."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from readmission.evaluation.learning_curves import STEP_ROWS, learning_curve

ROWS = 3_000


def answers(truth: np.ndarray, right: float, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.where(generator.random(len(truth)) < right, truth, generator.integers(0, 3, len(truth))).astype(np.int8)


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).choice(3, ROWS, p=[0.54, 0.35, 0.11]).astype(np.int8)


def test_scores_are_those_of_scikit_learn(truth: np.ndarray) -> None:
    given = [answers(truth, 0.3), answers(truth, 0.5)]
    curve = learning_curve("decision_tree", [15_000, 30_000], given, truth, np.arange(ROWS))
    for point, told in zip(curve.f1_score, given, strict=True):
        assert point.value == pytest.approx(f1_score(truth, told, average="weighted"))
        assert point.low < point.value < point.high
    assert curve.last_step is not None
    assert curve.last_step.value == pytest.approx(curve.f1_score[1].value - curve.f1_score[0].value)


def test_the_slope_is_per_fifteen_thousand_rows(truth: np.ndarray) -> None:
    rows = [10_000, 20_000, 40_000]
    given = [answers(truth, right) for right in (0.3, 0.4, 0.6)]
    curve = learning_curve("t", rows, given, truth, np.arange(ROWS))
    values = [point.value for point in curve.f1_score]
    assert curve.per_step is not None
    assert curve.per_step.value == pytest.approx(np.polyfit(rows, values, 1)[0] * STEP_ROWS)
    assert curve.per_step.low > 0


def test_the_same_answers_have_no_slope(truth: np.ndarray) -> None:
    same = answers(truth, 0.5)
    curve = learning_curve("t", [1, 2, 3], [same] * 3, truth, np.arange(ROWS))
    assert curve.per_step is not None
    assert (curve.per_step.value, curve.per_step.low, curve.per_step.high) == pytest.approx((0, 0, 0), abs=1e-9)


def test_one_set_has_nothing_to_compare(truth: np.ndarray) -> None:
    curve = learning_curve("t", [1], [answers(truth, 0.5)], truth, np.arange(ROWS))
    assert curve.per_step is None
    assert curve.last_step is None
