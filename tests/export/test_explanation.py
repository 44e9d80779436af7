"""``explain.json`` holds the whole model: walking it by hand gives the model's answers."""

import json
from typing import Any

import numpy as np
import pytest

from readmission.export.explanation import explanation
from readmission.results import MODEL_TYPES
from readmission.training.fitting import Fit
from training_sets import SmallSet

ROWS = 60
NO_ROWS = np.empty((0, 0), np.float32)  # trees need none


def walk(tree: dict[str, Any], row: np.ndarray) -> list[float]:
    node = 0
    while tree["feature"][node] >= 0:
        side = "left" if row[tree["feature"][node]] <= tree["threshold"][node] else "right"
        node = tree[side][node]
    return tree["value"][node]


def softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def answer(explained: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    if explained["kind"] == "linear":
        levels = rows[:, explained["category_columns"]] == np.array(explained["levels"])
        scores = levels @ np.array(explained["level_weights"]) + np.array(explained["intercept"])
        return softmax(scores + rows[:, explained["number_columns"]] @ np.array(explained["number_weights"]))
    values = np.array([[walk(tree, row) for tree in explained["trees"]] for row in rows])
    combined = values.sum(axis=1) if explained["combine"] == "sum" else values.mean(axis=1)
    return softmax(combined) if explained["output"] == "log_odds" else combined


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_explanation_gives_the_models_answers(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    model = fits[model_type].model
    explained = json.loads(json.dumps(explanation(model.estimator, small_set.train.matrix)))
    rows = small_set.validation.matrix[:ROWS]
    found = answer(explained, rows.astype(np.float64))
    np.testing.assert_allclose(found, model.predict_matrix(rows), rtol=0, atol=2e-6)


@pytest.mark.parametrize("model_type", ["decision_tree", "random_forest", "gradient_boosting"])
def test_the_rows_of_a_node_are_those_of_its_children(fits: dict[str, Fit], model_type: str) -> None:
    for tree in explanation(fits[model_type].model.estimator, NO_ROWS)["trees"]:
        inner = [node for node, feature in enumerate(tree["feature"]) if feature >= 0]
        for node in inner:
            assert tree["cover"][node] == tree["cover"][tree["left"][node]] + tree["cover"][tree["right"][node]]
        assert {len(column) for column in tree.values()} == {len(tree["feature"])}


def test_a_tree_of_boosting_speaks_for_one_label(fits: dict[str, Fit]) -> None:
    trees = explanation(fits["gradient_boosting"].model.estimator, NO_ROWS)["trees"]
    assert len(trees) == 300
    for place, tree in enumerate(trees):
        values = np.array(tree["value"])
        assert not np.delete(values, place % 3, axis=1).any()
