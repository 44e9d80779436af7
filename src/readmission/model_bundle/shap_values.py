"""Exact SHAP values of one prediction, from ``explain.json``; only needs numpy, so that the API can use it.

A model is a sum of trees or of linear terms. Its Shapley values are exact: for trees the path-dependent ones of
TreeSHAP (Lundberg et al. 2020, https://doi.org/10.1038/s42256-019-0138-9), for linear terms the distance from the mean.
From the model's own scale (margins or probabilities, one per label) they are converted to the log-odds of one label
along the straight line from base value to prediction (Aumann-Shapley; Sundararajan et al. 2017, arXiv:1703.01365): the
slope is averaged over that line in closed form, so the values sum exactly to the log-odds.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from readmission.schema import LABELS

Vector = npt.NDArray[np.float64]

_NO_CHANCE = 1e-6
"""Probabilities of 0 and 1 have no finite log-odds: they are clipped to this distance from 0 and 1."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """SHAP values of one prediction.

    Attributes:
        base_value: log-odds of the label for the average training row.
        values: contribution of each feature, in log-odds; shape (features,).
    """

    base_value: float
    values: Vector

    @property
    def log_odds(self) -> float:
        """Of the label for this record."""
        return float(self.base_value + self.values.sum())


class Additive(Protocol):
    """A model that is a sum on its own scale, with one number per label."""

    is_probability: bool
    """Whether that scale is the probability itself; else softmax makes it one."""

    def base(self) -> Vector:
        """Base value: the sum for the average training row; shape (3,)."""

    def shapley_values(self, row: Vector) -> Vector:
        """Contribution of each feature of an encoded row; shape (features, 3)."""


def load_explainer(document: dict[str, Any], n_features: int) -> Additive:
    """Read ``explain.json``.

    Args:
        document: from ``export.explanation.explanation``.
        n_features: columns of the model's matrix.
    """
    return _Linear(document, n_features) if document["kind"] == "linear" else _Trees(document, n_features)


def explain(model: Additive, row: Vector, label: int) -> Contributions:
    """Compute the SHAP values of one row.

    Args:
        model: from ``load_explainer``.
        row: encoded features, shape (features,).
        label: index into LABELS.
    """
    base, values = model.base(), model.shapley_values(row)
    end = base + values.sum(axis=0)
    if model.is_probability:
        return _from_probability(float(base[label]), float(end[label]), values[:, label])
    return _from_margins(base, end, values, label)


def _from_probability(base: float, end: float, values: Vector) -> Contributions:
    low, high = _log_odds(base), _log_odds(end)
    slope = (high - low) / (end - base) if end != base else 1 / (base * (1 - base))
    scaled = values * slope
    # If the values nearly cancel out, the slope is inaccurate: the rounding error is distributed evenly.
    return Contributions(low, scaled + (high - low - scaled.sum()) / len(scaled))


def _log_odds(probability: float) -> float:
    inside = min(max(probability, _NO_CHANCE), 1 - _NO_CHANCE)
    return float(np.log(inside / (1 - inside)))


def _from_margins(base: Vector, end: Vector, values: Vector, label: int) -> Contributions:
    """Log-odds of a softmax: the label's margin against the log-sum-exp of the two others."""
    first, second = (other for other in range(len(LABELS)) if other != label)
    share = _mean_logistic(base[first] - base[second], end[first] - end[second])
    against = share * values[:, first] + (1 - share) * values[:, second]
    start = base[label] - np.logaddexp(base[first], base[second])
    return Contributions(float(start), values[:, label] - against)


def _mean_logistic(start: float, end: float) -> float:
    """Mean of the logistic function between two points."""
    if abs(end - start) < 1e-9:
        return float(1 / (1 + np.exp(-start)))
    return float((np.logaddexp(0, end) - np.logaddexp(0, start)) / (end - start))


class _Linear:
    """Logistic regression: a contribution is the weight times the distance from the training mean."""

    is_probability = False

    def __init__(self, document: dict[str, Any], n_features: int) -> None:
        self._category_columns = np.array(document["category_columns"], int)
        self._levels = np.array(document["levels"], float)
        self._level_weights = np.array(document["level_weights"], float).reshape(-1, len(LABELS))
        self._level_means = np.array(document["level_means"], float)
        self._number_columns = np.array(document["number_columns"], int)
        self._number_weights = np.array(document["number_weights"], float).reshape(-1, len(LABELS))
        self._number_means = np.array(document["number_means"], float)
        self._intercept = np.array(document["intercept"], float)
        self._n_features = n_features

    def base(self) -> Vector:
        means: Vector = self._level_means @ self._level_weights + self._number_means @ self._number_weights
        return self._intercept + means

    def shapley_values(self, row: Vector) -> Vector:
        values = np.zeros((self._n_features, len(LABELS)))
        present = (row[self._category_columns] == self._levels) - self._level_means
        np.add.at(values, self._category_columns, present[:, None] * self._level_weights)
        distance = row[self._number_columns] - self._number_means
        values[self._number_columns] += distance[:, None] * self._number_weights
        return values


class _Trees:
    """A sum or mean of trees.

    Each leaf is a cooperative game of the features on its path. Its payoff is the leaf's value times one factor per
    feature: for a feature in the coalition 1 if its value follows the path and 0 otherwise, for any other feature the
    share of training rows that follow the path. The Shapley value of such a product is an integral of a polynomial over
    [0, 1], which Gauss-Legendre quadrature computes exactly.
    """

    def __init__(self, document: dict[str, Any], n_features: int) -> None:
        self.is_probability = document["output"] == "probability"
        leaves = [leaf for tree in document["trees"] for leaf in _leaves(tree)]
        scale = 1.0 if document["combine"] == "sum" else 1.0 / len(document["trees"])
        depth = max((len(leaf.features) for leaf in leaves), default=0) or 1
        self._n_features = n_features
        self._values = np.array([leaf.value for leaf in leaves]) * scale
        # Padded to the longest path with a dummy feature whose factor is always 1.
        self._feature = np.full((len(leaves), depth), n_features)
        self._low = np.full((len(leaves), depth), -np.inf)
        self._high = np.full((len(leaves), depth), np.inf)
        self._share = np.ones((len(leaves), depth))
        for number, leaf in enumerate(leaves):
            for column, (feature, (low, high, share)) in enumerate(leaf.features.items()):
                self._feature[number, column] = feature
                self._low[number, column], self._high[number, column] = low, high
                self._share[number, column] = share
        nodes, weights = np.polynomial.legendre.leggauss(depth // 2 + 1)
        self._points = (nodes + 1) / 2
        self._point_weights = weights / 2

    def base(self) -> Vector:
        means: Vector = self._share.prod(axis=1) @ self._values
        return means

    def shapley_values(self, row: Vector) -> Vector:
        number = np.append(row, 0.0)[self._feature]
        inside = ((number > self._low) & (number <= self._high)).astype(float)
        change = inside - self._share
        gained = np.zeros_like(change)
        for point, weight in zip(self._points, self._point_weights, strict=True):
            factor = self._share + point * change  # above 0, since the share is above 0 and the point is below 1
            gained += weight * factor.prod(axis=1, keepdims=True) / factor
        gained *= change
        columns = self._feature.ravel()
        totals = [
            np.bincount(columns, (gained * self._values[:, [label]]).ravel(), self._n_features + 1)[:-1]
            for label in range(len(LABELS))
        ]
        return np.stack(totals, axis=1)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf; for each feature on its path the range (open, closed) that leads to it and the share of rows in it."""

    value: list[float]
    features: dict[int, tuple[float, float, float]]


def _leaves(tree: dict[str, Any]) -> list[_Leaf]:
    found: list[_Leaf] = []
    waiting: list[tuple[int, dict[int, tuple[float, float, float]]]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        feature = tree["feature"][node]
        if feature < 0:
            found.append(_Leaf(tree["value"][node], path))
            continue
        low, high, share = path.get(feature, (-np.inf, np.inf, 1.0))
        threshold = tree["threshold"][node]
        for child, bounds in (("left", (low, min(high, threshold))), ("right", (max(low, threshold), high))):
            below = tree[child][node]
            covered = share * tree["cover"][below] / tree["cover"][node]
            waiting.append((below, {**path, feature: (*bounds, covered)}))
    return found
