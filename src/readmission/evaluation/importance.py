"""Permutation importance: how much worse the model gets when a column is shuffled (Breiman 2001, section 10)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import log_loss

from readmission.evaluation.metrics import Labels, Probabilities
from readmission.features.encoder import Encoder
from readmission.schema import LABELS

REPEATS = 3


@dataclass(frozen=True, slots=True)
class Importance:
    """Permutation importance of one clean column.

    Attributes:
        name: the column.
        loss: mean increase of the log loss when it is shuffled.
        spread: standard deviation over the repeats.
    """

    name: str
    loss: float
    spread: float


MOST_ROWS = 20_000
"""Rows are sampled down to this number, which is enough to rank columns; 100,000 rows would take ten minutes."""


def permutation_importance(
    predict: Callable[[npt.NDArray[np.float32]], Probabilities],
    encoder: Encoder,
    matrix: npt.NDArray[np.float32],
    labels: Labels,
) -> tuple[Importance, ...]:
    """Shuffle each clean column, with all features that it determines, over rows that the model was not trained on.

    Args:
        predict: encoded rows to probabilities, shape (n, 3).
        encoder: names the clean column of each feature.
        matrix: encoded rows, shape (n, features); at most ``MOST_ROWS`` of them are used.
        labels: their outcomes, shape (n,).

    Returns:
        the columns, the most important first.
    """
    if len(matrix) > MOST_ROWS:
        drawn = np.random.default_rng(0).choice(len(matrix), MOST_ROWS, replace=False)
        matrix, labels = matrix[drawn], labels[drawn]
    every = list(range(len(LABELS)))
    base = log_loss(labels, predict(matrix), labels=every)
    generator = np.random.default_rng(0)
    found = []
    for name in dict.fromkeys(encoder.sources):
        columns = [index for index, source in enumerate(encoder.sources) if source == name]
        rises = []
        for _ in range(REPEATS):
            shuffled = matrix.copy()
            shuffled[:, columns] = matrix[generator.permutation(len(matrix))][:, columns]
            rises.append(log_loss(labels, predict(shuffled), labels=every) - base)
        found.append(Importance(name, float(np.mean(rises)), float(np.std(rises))))
    return tuple(sorted(found, key=lambda importance: -importance.loss))
