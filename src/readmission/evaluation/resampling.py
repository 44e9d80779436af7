"""Bootstrap intervals over patients: the encounters of one patient are drawn together.

The percentile interval of Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from readmission.evaluation.metrics import Labels, Probabilities
from readmission.evaluation.weighted import FIGURES, WeightedScores
from readmission.results import Interval

DRAWS = 500
CONFIDENCE = 0.95
_SEED = 20_140_211

Groups = npt.NDArray[np.integer]
Weights = npt.NDArray[np.float64]
Statistic = Callable[[Weights], float]


def draw_weights(groups: Groups, draws: int = DRAWS, seed: int = _SEED) -> Iterator[Weights]:
    """Draw groups with replacement, as many as there are.

    Args:
        groups: group of each row, any whole numbers, shape (n,).
        draws: number of resamples.
        seed: of the draws.

    Yields:
        for each resample, how often each row was drawn, shape (n,).
    """
    names, group_of_row = np.unique(groups, return_inverse=True)
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        drawn = generator.integers(0, len(names), len(names))
        yield np.bincount(drawn, minlength=len(names))[group_of_row].astype(np.float64)


def bootstrap(statistic: Statistic, groups: Groups, draws: int = DRAWS) -> Interval:
    """Compute the interval of a statistic.

    Args:
        statistic: function of the rows' weights; with all weights 1 it gives the value itself.
        groups: patient of each row, shape (n,).
        draws: resamples.

    Returns:
        the value and its 95 % percentile interval.
    """
    values = [statistic(weights) for weights in draw_weights(groups, draws)]
    return interval(statistic(np.ones(len(groups))), values)


def score_intervals(
    truth: Labels, probabilities: Probabilities, predicted: Labels, groups: Groups, draws: int = DRAWS
) -> dict[str, Interval]:
    """Compute the interval of each of ``weighted.FIGURES``.

    Args:
        truth, predicted: index into LABELS, shape (n,).
        probabilities: shape (n, 3).
        groups: patient of each row, shape (n,).
        draws: resamples.
    """
    scores = WeightedScores(truth, probabilities, predicted)
    values = scores.figures(np.ones(len(truth)))
    drawn = np.array([scores.figures(weights) for weights in draw_weights(groups, draws)])
    return {name: interval(values[index], drawn[:, index]) for index, name in enumerate(FIGURES)}


def interval(value: float, values: list[float] | npt.NDArray[np.float64]) -> Interval:
    """The percentile interval of resampled values; resamples in which the statistic is undefined are ignored."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(np.asarray(values), [tail, 1 - tail])
    return Interval(value=float(value), low=float(low), high=float(high))
