"""Intervals: patients are drawn whole, figures are those of scikit-learn, and intervals cover what they should."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from readmission.evaluation.metrics import LT30, calibration_error
from readmission.evaluation.resampling import bootstrap, draw_weights, interval, score_intervals
from readmission.evaluation.weighted import FIGURES, WeightedScores


def example(seed: int = 0, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    probabilities = np.round(generator.dirichlet([5, 3, 1], rows), 2)  # rounded: there are ties
    truth = (probabilities.cumsum(axis=1) > generator.random((rows, 1))).argmax(axis=1).astype(np.int8)
    return truth, probabilities, probabilities.argmax(axis=1).astype(np.int8)


def by_scikit_learn(truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    aucs = [roc_auc_score(truth == label, probabilities[:, label]) for label in range(3)]
    return {
        "f1_score": f1_score(truth, predicted, average="weighted"),
        "f1_macro": f1_score(truth, predicted, average="macro"),
        "accuracy": accuracy_score(truth, predicted),
        "roc_auc_macro": float(np.mean(aucs)),
        "lt30_roc_auc": aucs[LT30],
        "lt30_pr_auc": average_precision_score(truth == LT30, probabilities[:, LT30]),
        "lt30_ece": calibration_error(truth == LT30, probabilities[:, LT30]),
    }


def test_figures_are_those_of_scikit_learn() -> None:
    truth, probabilities, predicted = example()
    found = WeightedScores(truth, probabilities, predicted).figures(np.ones(len(truth)))
    expected = by_scikit_learn(truth, probabilities, predicted)
    np.testing.assert_allclose(found, [expected[name] for name in FIGURES], atol=1e-12)


def test_a_weight_counts_like_copies_of_the_row() -> None:
    truth, probabilities, predicted = example()
    weights = np.random.default_rng(1).integers(0, 4, len(truth))
    rows = np.repeat(np.arange(len(truth)), weights)
    found = WeightedScores(truth, probabilities, predicted).figures(weights.astype(float))
    expected = by_scikit_learn(truth[rows], probabilities[rows], predicted[rows])
    for place, name in enumerate(FIGURES):
        if name != "lt30_ece":  # its bins are those of the rows as they are
            assert found[place] == pytest.approx(expected[name], abs=1e-12), name


def test_patients_are_drawn_whole() -> None:
    groups = np.array([7, 7, 7, 3, 3, 9])
    for weights in draw_weights(groups, 50):
        assert len(set(weights[:3])) == len(set(weights[3:5])) == 1
        assert weights[0] + weights[3] + weights[5] == 3


def test_draws_repeat() -> None:
    groups = np.arange(20)
    first, second = (list(draw_weights(groups, 5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_interval_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = np.random.default_rng(2).normal(size=900)
    found = bootstrap(lambda weights: float(weights @ values / weights.sum()), np.arange(900))
    half = 1.96 * values.std() / 30
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)


def test_rows_of_one_patient_are_no_more_than_one() -> None:
    """Ten copies of each row tell nothing new: the interval stays as wide."""
    values = np.random.default_rng(3).normal(size=200)
    single = bootstrap(lambda weights: float(weights @ values / weights.sum()), np.arange(200))
    copies = np.repeat(values, 10)
    repeated = bootstrap(lambda weights: float(weights @ copies / weights.sum()), np.repeat(np.arange(200), 10))
    assert repeated.high - repeated.low == pytest.approx(single.high - single.low, rel=0.01)


def test_every_figure_has_its_interval() -> None:
    truth, probabilities, predicted = example()
    found = score_intervals(truth, probabilities, predicted, np.arange(len(truth)), draws=60)
    assert tuple(found) == FIGURES
    for name, figure in found.items():
        assert figure.low <= figure.value <= figure.high or name == "lt30_ece"  # noise adds to an error


def test_a_draw_without_the_class_does_not_count() -> None:
    assert interval(0.5, [0.4, float("nan"), 0.6]).low == pytest.approx(0.405)
