import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from readmission.evaluation.metrics import calibration_error, decide, score
from readmission.model_bundle.files import Decision


def draw(rows: int = 500, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.choice(3, rows, p=[0.55, 0.34, 0.11]).astype(np.int8)
    raw = random.random((rows, 3)) + 0.4 * np.eye(3)[truth]
    return truth, raw / raw.sum(axis=1, keepdims=True)


def test_figures_are_those_of_scikit_learn() -> None:
    truth, probabilities = draw()
    found = score(truth, probabilities, Decision())
    predicted = probabilities.argmax(axis=1)
    soon = truth == 2
    expected = {
        "accuracy": float((predicted == truth).mean()),
        "precision": precision_score(truth, predicted, average="weighted"),
        "recall": recall_score(truth, predicted, average="weighted"),
        "f1_score": f1_score(truth, predicted, average="weighted"),
        "f1_macro": f1_score(truth, predicted, average="macro"),
        "roc_auc": roc_auc_score(truth, probabilities, multi_class="ovr", average="weighted"),
        "roc_auc_macro": roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"),
        "lt30_roc_auc": roc_auc_score(soon, probabilities[:, 2]),
        "lt30_pr_auc": average_precision_score(soon, probabilities[:, 2]),
        "lt30_ece": calibration_error(soon, probabilities[:, 2]),
    }
    assert found == pytest.approx(expected)


def test_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    truth, probabilities = draw(60)
    high, low = probabilities[truth == 2, 2], probabilities[truth != 2, 2]
    pairs = (high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean()
    assert score(truth, probabilities, Decision())["lt30_roc_auc"] == pytest.approx(pairs)


def test_an_absent_class_has_no_area_but_spoils_nothing_else() -> None:
    truth, probabilities = draw()
    kept = truth != 2
    found = score(truth[kept], probabilities[kept], Decision())
    for name in ("roc_auc", "roc_auc_macro", "lt30_roc_auc", "lt30_pr_auc"):
        assert math.isnan(found[name])
    assert found["accuracy"] == pytest.approx((probabilities[kept].argmax(axis=1) == truth[kept]).mean())
    assert not math.isnan(found["f1_score"])


def test_a_single_class_has_no_area() -> None:
    found = score(np.zeros(5, np.int8), np.tile([0.8, 0.1, 0.1], (5, 1)), Decision())
    assert found["accuracy"] == found["f1_score"] == 1.0
    assert math.isnan(found["roc_auc"])


def test_calibration_error_by_hand() -> None:
    positive = np.array([False, True, True, True])
    scores = np.array([0.1, 0.3, 0.6, 0.8])
    # Two bins of two rows: observed 0.5 and 1.0, said 0.2 and 0.7.
    assert calibration_error(positive, scores, bins=2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.3)


def test_bins_weigh_as_their_rows_do() -> None:
    # Three rows in two bins: (0.1, 0.3) observed 0, said 0.2; (0.9) observed 1, said 0.9.
    found = calibration_error(np.array([True, False, False]), np.array([0.9, 0.3, 0.1]), bins=2)
    assert found == pytest.approx((2 * 0.2 + 1 * 0.1) / 3)


def test_honest_probabilities_have_a_small_error() -> None:
    random = np.random.default_rng(0)
    scores = random.random(40_000)
    assert calibration_error(random.random(40_000) < scores, scores) < 0.02
    assert calibration_error(random.random(40_000) < scores, scores**3) > 0.2


def test_more_bins_than_rows_is_no_error() -> None:
    assert calibration_error(np.array([True]), np.array([0.25])) == pytest.approx(0.75)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.sampled_from([0.0, 0.2, 0.25, 0.5, 1.0])),
    st.tuples(*[st.sampled_from([0.5, 1.0, 1.25, 2.0])] * 3),
)
def test_rows_are_decided_as_one_record_is(probabilities: np.ndarray, weights: tuple[float, float, float]) -> None:
    decision = Decision(rule="weighted", weights=weights)
    assert decide(probabilities, decision).tolist() == [decision.choose(row) for row in probabilities.tolist()]


def test_weights_move_the_decision() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2]])
    assert decide(probabilities, Decision()).tolist() == [0]
    assert decide(probabilities, Decision(weights=(1.0, 1.0, 3.0))).tolist() == [2]
