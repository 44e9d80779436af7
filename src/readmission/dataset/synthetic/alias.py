"""Weighted draws in constant time: Walker's alias method, vectorised over rows and over many distributions.

Source: A. J. Walker, "An efficient method for generating discrete random variables with general distributions",
ACM Transactions on Mathematical Software 3(3), 1977.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Alias:
    """Distributions over the same levels, one per context, ready to be drawn from.

    Attributes:
        keep: chance to keep the cell that was hit, shape ``(contexts * levels,)``.
        jump: how many levels further the one lies that is taken otherwise, same shape.
        levels: number of levels.
    """

    keep: NDArray[np.float32]
    jump: Codes
    levels: int

    @classmethod
    def build(cls, weights: Weights) -> "Alias":
        """Prepare the draws.

        Args:
            weights: shape ``(contexts, levels)``, none negative, a positive sum in every row.
        """
        contexts, levels = weights.shape
        mass = weights * (levels / weights.sum(axis=1, keepdims=True))
        keep = np.ones((contexts, levels))
        other = np.tile(np.arange(levels, dtype=np.int32), (contexts, 1))
        row = np.arange(contexts)
        for _ in range(levels):  # each turn fills the emptiest cell of every context from its fullest one
            small, large = mass.argmin(axis=1), mass.argmax(axis=1)
            lack = 1 - mass[row, small]
            open_ = lack > 0  # contexts that are done have nothing below 1, and their cells must stay as they are
            keep[row[open_], small[open_]] -= lack[open_]
            other[row[open_], small[open_]] = large[open_]
            mass[row[open_], small[open_]] = 1
            mass[row, large] -= np.where(open_, lack, 0)
        jump = (other - np.arange(levels)).astype(np.int32)
        return cls(keep.ravel().astype(np.float32), jump.ravel(), levels)

    def draw(self, rng: np.random.Generator, context: Codes) -> Codes:
        """Draw one level for each context.

        Args:
            rng: source of randomness; one uniform number is used per row.
            context: number of the distribution of each row, shape ``(rows,)``.

        Returns:
            Levels, shape ``(rows,)``.
        """
        place = rng.random(len(context), dtype=np.float32) * np.float32(self.levels)
        hit = place.astype(np.int32)
        cell = context * np.int32(self.levels) + hit
        # a product, not np.where: the processor cannot foresee the choice, and a wrong guess costs more
        return hit + self.jump.take(cell) * (place - hit.astype(np.float32) >= self.keep.take(cell))
