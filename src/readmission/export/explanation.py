"""``explain.json``: the fitted trees or coefficients as plain data, from which the API computes SHAP values."""

from typing import Any

import numpy as np
import numpy.typing as npt
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from readmission.schema import LABELS
from readmission.training.linear import linear_terms

Json = dict[str, Any]


def explanation(estimator: Any, matrix: npt.NDArray[np.float32]) -> Json:
    """Convert an estimator to plain data.

    Args:
        estimator: fitted.
        matrix: its encoded training rows, shape (n, features); linear contributions start from their means.

    Returns:
        ``{"kind": "linear", ...}`` with the arrays of ``LinearTerms`` and the means of its terms, or ``{"kind":
        "trees", "output", "combine", "trees"}``: ``output`` is ``log_odds`` or ``probability``, ``combine`` is ``sum``
        or ``mean``, and a tree has node arrays ``feature`` (-1 at a leaf), ``threshold`` (at most goes left),
        ``left``, ``right``, ``cover`` (training rows) and ``value`` (one row per node, one number per label).
    """
    if isinstance(estimator, Pipeline):
        return _linear(estimator, matrix)
    if isinstance(estimator, LGBMClassifier):
        dumped = estimator.booster_.dump_model()
        trees = [_lightgbm_tree(tree["tree_structure"], tree["tree_index"]) for tree in dumped["tree_info"]]
        return {"kind": "trees", "output": "log_odds", "combine": "sum", "trees": trees}
    members = estimator.estimators_ if isinstance(estimator, RandomForestClassifier) else [estimator]
    trees = [_sklearn_tree(member.tree_) for member in members]
    return {"kind": "trees", "output": "probability", "combine": "mean", "trees": trees}


def _linear(pipeline: Pipeline, matrix: npt.NDArray[np.float32]) -> Json:
    terms = linear_terms(pipeline)
    pairs = zip(terms.category_columns, terms.levels, strict=True)
    means = {
        "level_means": [float(np.mean(matrix[:, column] == level)) for column, level in pairs],
        "number_means": matrix[:, terms.number_columns].mean(axis=0, dtype=np.float64).tolist(),
    }
    return {"kind": "linear", **{name: getattr(terms, name).tolist() for name in terms.__slots__}, **means}


def _sklearn_tree(tree: Any) -> Json:
    values = tree.value[:, 0, :]
    return {
        "feature": np.maximum(tree.feature, -1).tolist(),
        "threshold": tree.threshold.tolist(),
        "left": tree.children_left.tolist(),
        "right": tree.children_right.tolist(),
        "cover": tree.weighted_n_node_samples.tolist(),
        "value": np.round(values / values.sum(axis=1, keepdims=True), 9).tolist(),
    }


def _lightgbm_tree(root: Json, index: int) -> Json:
    """Convert a nested tree to arrays; tree i of LightGBM belongs to label i modulo the number of labels."""
    nodes: list[Json] = []
    _append_node(root, nodes)
    label = index % len(LABELS)
    values = [[node["value"] if number == label else 0.0 for number in range(len(LABELS))] for node in nodes]
    columns = {name: [node[name] for node in nodes] for name in ("feature", "threshold", "left", "right", "cover")}
    return {**columns, "value": values}


def _append_node(node: Json, nodes: list[Json]) -> int:
    index = len(nodes)
    if "split_feature" not in node:
        cover, value = node.get("leaf_count", 0), node["leaf_value"]
        nodes.append({"feature": -1, "threshold": 0.0, "left": -1, "right": -1, "cover": cover, "value": value})
        return index
    entry = {"feature": node["split_feature"], "threshold": node["threshold"], "cover": node["internal_count"]}
    nodes.append({**entry, "value": node["internal_value"]})
    nodes[index]["left"] = _append_node(node["left_child"], nodes)
    nodes[index]["right"] = _append_node(node["right_child"], nodes)
    return index
