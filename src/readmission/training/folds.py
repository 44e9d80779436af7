"""Folds for cross-validation: a patient's encounters are in one fold, and every type of model uses the same folds."""

import numpy as np
import numpy.typing as npt

FOLDS = 3
"""Each fold costs a fit of the rest: three fits at two thirds of the rows beside the one of all."""


def draw_folds(groups: npt.NDArray[np.integer], folds: int = FOLDS, seed: int = 42) -> npt.NDArray[np.int8]:
    """Give each group a fold, at random, all folds alike in groups.

    Args:
        groups: group of each row, any whole numbers, shape (n,).
        folds: how many.
        seed: the same folds again.

    Returns:
        fold of each row, 0 to ``folds`` - 1, shape (n,).
    """
    names, group_of_row = np.unique(groups, return_inverse=True)
    fold_of_group = (np.random.default_rng(seed).permutation(len(names)) % folds).astype(np.int8)
    found: npt.NDArray[np.int8] = fold_of_group[group_of_row]
    return found
