"""The estimators by name, with the requested parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from readmission.features.encoder import CategoryFeature, Encoder
from readmission.results import SEED

RELATIVE_COST: dict[str, int] = {
    "tuned_boosting": 16,
    "gradient_boosting": 12,
    "random_forest": 9,
    "logistic_regression": 3,
    "decision_tree": 1,
}
"""Approximate share of the fitting time; the longest fits start first, so that no core is idle at the end."""


def make_estimator(
    model_type: str, encoder: Encoder, threads: int = 1, tuned: Mapping[str, float | int] | None = None
) -> Any:
    """Make an unfitted estimator.

    Args:
        model_type: one of ``results.MODEL_TYPES``.
        encoder: says which columns of the matrix are categories.
        threads: that the fit may use.
        tuned: parameters of the challenger, from a search; None: the defaults.

    Returns:
        a scikit-learn classifier for the matrix of ``features.fit.encode_columns``.
    """
    if model_type == "tuned_boosting" and tuned is not None:
        return make_tuned(encoder, threads, tuned)
    return _MAKERS[model_type](encoder, threads)


def _logistic_regression(encoder: Encoder, _: int) -> Pipeline:
    """Logistic regression on one-hot categories and scaled numbers, which trees do not need.

    The most frequent level (code 0) is the reference level, since otherwise the columns of a category always sum to 1.
    Newton's method takes four steps, while L-BFGS takes 280 and stops before the optimum. On a dense float32 matrix a
    step is twice as fast; with a tolerance of 0.001 the probabilities still agree to six decimals.
    """
    levels = {index: feature for index, feature in enumerate(encoder.features) if isinstance(feature, CategoryFeature)}
    numbers = [index for index in range(len(encoder.features)) if index not in levels]
    # Every code that the encoder can produce, also those that do not occur in these training rows.
    codes = [np.arange(len(feature.levels) + 1, dtype=np.float32) for feature in levels.values()]
    one_hot = OneHotEncoder(categories=codes, drop="first", dtype=np.float32, sparse_output=False)
    columns = ColumnTransformer([("categories", one_hot, list(levels)), ("numbers", StandardScaler(), numbers)])
    newton = LogisticRegression(solver="newton-cholesky", max_iter=1000, tol=1e-3, random_state=SEED)
    return Pipeline([("columns", columns), ("classifier", newton)])


def _decision_tree(_: Encoder, __: int) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=10, random_state=SEED)


def _random_forest(_: Encoder, threads: int) -> RandomForestClassifier:
    return RandomForestClassifier(n_estimators=100, max_depth=10, random_state=SEED, n_jobs=threads)


def _gradient_boosting(_: Encoder, threads: int) -> LGBMClassifier:
    # deterministic and column-wise: the same data gives the same model, whatever the machine's timing.
    return LGBMClassifier(
        n_estimators=100,
        max_depth=5,
        max_bin=63,
        colsample_bytree=0.5,
        # Of six draws of each row's rates (``fitting.fit_rows``): a tree has each row about twice, with other rates.
        subsample=1 / 3,
        subsample_freq=1,
        min_child_samples=200,
        reg_lambda=20.0,
        random_state=SEED,
        n_jobs=threads,
        deterministic=True,
        force_col_wise=True,
        verbose=-1,
    )


TUNED_PARAMS: Mapping[str, Any] = {
    "n_estimators": 400,
    "learning_rate": 0.03,
    "max_depth": 6,
    "num_leaves": 24,
    "max_bin": 63,
    "colsample_bytree": 0.3,
    "subsample": 0.8,
    "subsample_freq": 1,
    "min_child_samples": 200,
    "reg_lambda": 20.0,
}


def make_tuned(_: Encoder, threads: int, params: Mapping[str, Any] = TUNED_PARAMS) -> LGBMClassifier:
    """Make the challenger: more boosted trees, with searched parameters.

    Args:
        threads: that the fit may use.
        params: of LightGBM.
    """
    return LGBMClassifier(
        **params, random_state=SEED, n_jobs=threads, deterministic=True, force_col_wise=True, verbose=-1
    )


_MAKERS: dict[str, Callable[[Encoder, int], Any]] = {
    "logistic_regression": _logistic_regression,
    "decision_tree": _decision_tree,
    "random_forest": _random_forest,
    "gradient_boosting": _gradient_boosting,
    "tuned_boosting": make_tuned,
}


def shown_params(estimator: Any) -> dict[str, str]:
    """An estimator's parameters as MLflow shows them; of a pipeline, those of its last step."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return {name: str(value) for name, value in last.get_params(deep=False).items()}
