"""The fitted logistic regression as plain arrays, with the scaling merged into its weights."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class LinearTerms:
    """Log-odds of every label: a sum over levels and numbers, for L levels, N numbers and 3 labels.

    Attributes:
        category_columns: matrix column of each level, shape (L,).
        levels: code of each level, shape (L,). The reference level of a category (code 0) has no entry.
        level_weights: shape (L, 3).
        number_columns: matrix column of each number, shape (N,).
        number_weights: per unit of the unscaled number, shape (N, 3).
        intercept: for unscaled numbers, shape (3,).
    """

    category_columns: npt.NDArray[np.int64]
    levels: npt.NDArray[np.float64]
    level_weights: npt.NDArray[np.float64]
    number_columns: npt.NDArray[np.int64]
    number_weights: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]


def linear_terms(pipeline: Pipeline) -> LinearTerms:
    """Read the terms of the fitted pipeline that ``estimators`` makes for logistic regression."""
    columns, classifier = pipeline.named_steps["columns"], pipeline.named_steps["classifier"]
    (_, one_hot, category_places), (_, scaler, number_places) = columns.transformers_[:2]
    kept = [codes[1:] for codes in one_hot.categories_]  # drop="first"
    weights = classifier.coef_.T
    n_levels = sum(len(codes) for codes in kept)
    number_weights = weights[n_levels:] / scaler.scale_[:, None]
    return LinearTerms(
        category_columns=np.repeat(np.array(category_places), [len(codes) for codes in kept]),
        levels=np.concatenate(kept),
        level_weights=weights[:n_levels],
        number_columns=np.array(number_places),
        number_weights=number_weights,
        intercept=classifier.intercept_ - scaler.mean_ @ number_weights,
    )
