"""Contributions are exact: those of the package shap, and they sum to the log-odds of the answer."""

import json
import warnings
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from readmission.export.explanation import explanation
from readmission.model_bundle.shap_values import explain, load_explainer
from readmission.results import CHALLENGERS, MODEL_TYPES
from readmission.training.fitting import Fit
from training_sets import SmallSet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its plots
    import shap

TREES = ("decision_tree", "random_forest", "gradient_boosting", *CHALLENGERS)
ROWS = 40
PROOF_ROWS = 1_000
"""For each type of model, against the package."""


def many_rows(small_set: SmallSet) -> np.ndarray:
    rows = np.concatenate([small_set.validation.matrix, small_set.train.matrix])[:PROOF_ROWS]
    assert len(rows) == PROOF_ROWS
    return rows


def document(fit: Fit, small_set: SmallSet) -> dict[str, Any]:
    return json.loads(json.dumps(explanation(fit.model.estimator, small_set.train.matrix)))


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_they_sum_to_the_log_odds_of_every_label(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    model = fits[model_type].model
    matrix = small_set.validation.matrix[:ROWS]
    explainer = load_explainer(document(fits[model_type], small_set), matrix.shape[1])
    probabilities = np.clip(model.predict_matrix(matrix), 1e-6, 1 - 1e-6)
    for row, answers in zip(matrix.astype(float), probabilities, strict=True):
        for label, probability in enumerate(answers):
            found = explain(explainer, row, label)
            assert found.log_odds == pytest.approx(np.log(probability / (1 - probability)), abs=2e-4)


@pytest.mark.parametrize("model_type", TREES)
def test_trees_give_the_values_of_tree_shap(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    matrix = many_rows(small_set)
    explainer = load_explainer(document(fits[model_type], small_set), matrix.shape[1])
    estimator = fits[model_type].model.estimator
    expected = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent").shap_values(
        matrix.astype(float), check_additivity=False
    )
    found = np.array([explainer.shapley_values(row) for row in matrix.astype(float)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_linear_terms_give_the_values_of_linear_shap(fits: dict[str, Fit], small_set: SmallSet) -> None:
    matrix = many_rows(small_set)
    pipeline: Pipeline = fits["logistic_regression"].model.estimator
    columns, classifier = pipeline.named_steps["columns"], pipeline.named_steps["classifier"]
    background, rows = (columns.transform(part) for part in (small_set.train.matrix, matrix))
    expected = shap.LinearExplainer(classifier, shap.maskers.Independent(background, len(background))).shap_values(rows)
    explainer = load_explainer(document(fits["logistic_regression"], small_set), matrix.shape[1])
    found = np.array([explainer.shapley_values(row) for row in matrix.astype(float)])
    # The package computes in float32, as the columns are.
    np.testing.assert_allclose(found.sum(axis=1), expected.sum(axis=1), rtol=0, atol=5e-6)
    numbers = columns.transformers_[1][2]
    np.testing.assert_allclose(found[:, numbers], expected[:, -len(numbers) :], rtol=0, atol=5e-6)


def by_definition(tree: dict[str, Any], row: np.ndarray, features: list[int]) -> np.ndarray:
    """Shapley values of one tree by summing over all orders of the features."""

    def value(known: frozenset[int], node: int = 0) -> np.ndarray:
        feature = tree["feature"][node]
        if feature < 0:
            return np.array(tree["value"][node])
        left, right = tree["left"][node], tree["right"][node]
        if feature in known:
            return value(known, left if row[feature] <= tree["threshold"][node] else right)
        share = tree["cover"][left] / tree["cover"][node]
        return share * value(known, left) + (1 - share) * value(known, right)

    found = np.zeros((max(features) + 1, 3))
    orders = list(permutations(features))
    for order in orders:
        for place, feature in enumerate(order):
            before = frozenset(order[:place])
            found[feature] += value(before | {feature}) - value(before)
    return found / len(orders)


def test_a_small_tree_by_the_definition_itself() -> None:
    """A feature that is asked twice on one path is one player."""
    tree = {
        "feature": [0, 1, 0, -1, -1, 2, -1, -1, -1],
        "threshold": [0.5, 0.5, 1.5, 0, 0, 0.5, 0, 0, 0],
        "left": [1, 3, 5, -1, -1, 6, -1, -1, -1],
        "right": [2, 4, 8, -1, -1, 7, -1, -1, -1],
        "cover": [100, 40, 60, 10, 30, 35, 5, 30, 25],
        "value": [[0, 0, 0]] * 3 + [[1.0, 2, 3], [4, 0, 1]] + [[0, 0, 0]] + [[2, 2, 0], [0, 5, 1], [3, 1, 1]],
    }
    explainer = load_explainer({"kind": "trees", "output": "log_odds", "combine": "sum", "trees": [tree]}, 3)
    for row in np.array([[0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1], [2, 0, 1]], float):
        np.testing.assert_allclose(explainer.shapley_values(row), by_definition(tree, row, [0, 1, 2]), atol=1e-12)
