"""Folds for cross-validation: a patient is in one fold, and every type of model uses the same folds."""

import numpy as np
import numpy.typing as npt

FOLDS = 3
"""Each fold costs one fit: three fits on two thirds of the rows, besides the one on all rows."""


def draw_folds(groups: npt.NDArray[np.integer], folds: int = FOLDS, seed: int = 42) -> npt.NDArray[np.int8]:
    """Assign each group to a random fold; all folds have the same number of groups (within one).

    Args:
        groups: group of each row, any whole numbers, shape (n,).
        folds: number of folds.
        seed: of the draw.

    Returns:
        fold of each row, 0 to ``folds`` - 1, shape (n,).
    """
    names, group_of_row = np.unique(groups, return_inverse=True)
    fold_of_group = (np.random.default_rng(seed).permutation(len(names)) % folds).astype(np.int8)
    found: npt.NDArray[np.int8] = fold_of_group[group_of_row]
    return found
