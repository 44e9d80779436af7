import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from readmission.dataset.synthetic.distributions import Distributions, Weights


def probabilities(distributions: Distributions) -> Weights:
    """The distributions, shape ``(contexts, levels)``."""
    ends = distributions.ends.reshape(-1, distributions.levels)
    return np.diff(ends - np.arange(len(ends))[:, None], prepend=0.0)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 40)),
        elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e6)),
    )
)
def test_probabilities_are_the_normalised_weights(weights: Weights) -> None:
    weights[:, 0] += 1
    expected = weights / weights.sum(axis=1, keepdims=True)
    assert np.allclose(probabilities(Distributions.build(weights)), expected, atol=1e-6)


@pytest.mark.parametrize("levels", [1, 2, 3, 52, 717, 4096])
def test_a_level_without_weight_is_never_drawn(levels: int) -> None:
    weights = np.zeros((2, levels))
    weights[0, 0] = weights[1, levels - 1] = 1.0
    context = np.repeat(np.array([0, 1], dtype=np.int32), 50_000)
    drawn = Distributions.build(weights).draw(np.random.default_rng(1), context)
    assert set(drawn[:50_000].tolist()) == {0}
    assert set(drawn[50_000:].tolist()) == {levels - 1}


class Largest(np.random.Generator):
    """Draws the largest number below 1 that it can."""

    def random(self, size: int, dtype: type) -> np.ndarray:  # type: ignore[override]
        return np.full(size, np.nextafter(dtype(1), dtype(0)))


@pytest.mark.parametrize("contexts", [1, 100_000])
def test_the_largest_number_draws_the_last_level_that_has_weight(contexts: int) -> None:
    weights = np.tile([1e-9, 1.0, 1e9, 0.0], (contexts, 1))
    drawn = Distributions.build(weights).draw(Largest(np.random.PCG64(1)), np.arange(contexts, dtype=np.int32))
    assert set(drawn.tolist()) == {2}


def test_draws_follow_the_weights_of_their_context() -> None:
    weights = np.array([[7.0, 1, 1.5, 0.5], [0, 0, 1, 3]])
    context = np.tile(np.array([0, 1], dtype=np.int32), 100_000)
    drawn = Distributions.build(weights).draw(np.random.default_rng(1), context)
    for number, row in enumerate(weights):
        shares = np.bincount(drawn[context == number], minlength=4) / 100_000
        assert np.allclose(shares, row / row.sum(), atol=0.006)


def test_the_same_generator_gives_the_same_draws() -> None:
    distributions = Distributions.build(np.arange(1.0, 9.0)[None, :])
    context = np.zeros(100, dtype=np.int32)
    first, again, other = (distributions.draw(np.random.default_rng(seed), context).tolist() for seed in (5, 5, 6))
    assert first == again
    assert first != other
