"""Draw from many discrete distributions at once, by binary search in their cumulative probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Distributions:
    """Distributions over the same levels, one per context.

    Attributes:
        ends: context number plus cumulative probability of each level, rising, shape ``(contexts * levels,)``.
        levels: number of levels.
    """

    ends: Weights
    levels: int

    @classmethod
    def build(cls, weights: Weights) -> "Distributions":
        """Make the cumulative probabilities.

        Args:
            weights: shape ``(contexts, levels)``, none negative, a positive sum in every row.
        """
        contexts, levels = weights.shape
        sums = np.cumsum(weights, axis=1)
        return cls((np.arange(contexts)[:, None] + sums / sums[:, -1:]).ravel(), levels)

    def draw(self, rng: np.random.Generator, context: Codes) -> Codes:
        """Draw one level for each context.

        Args:
            rng: source of randomness; one uniform number is used per row.
            context: number of the distribution of each row, shape ``(rows,)``.

        Returns:
            Levels, shape ``(rows,)``.
        """
        # float32: context + number stays exact in float64, so that no sum is rounded up into the next context
        point = context + rng.random(len(context), dtype=np.float32)
        levels: Codes = (np.searchsorted(self.ends, point, side="right") - context * self.levels).astype(np.int32)
        return levels
