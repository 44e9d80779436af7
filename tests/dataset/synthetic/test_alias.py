import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from readmission.dataset.synthetic.alias import Alias, Weights


def chances(alias: Alias) -> Weights:
    """The distributions that the cells amount to, shape ``(contexts, levels)``."""
    contexts = len(alias.keep) // alias.levels
    cell = np.arange(contexts * alias.levels)
    found = np.zeros((contexts, alias.levels))
    np.add.at(found, (cell // alias.levels, cell % alias.levels), alias.keep)
    np.add.at(found, (cell // alias.levels, cell % alias.levels + alias.jump), 1 - alias.keep)
    return found / alias.levels


@settings(deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 40)),
        elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e6)),
    )
)
def test_cells_hold_exactly_the_weights(weights: Weights) -> None:
    weights[:, 0] += 1
    expected = weights / weights.sum(axis=1, keepdims=True)
    assert np.allclose(chances(Alias.build(weights)), expected, atol=1e-6)


@pytest.mark.parametrize("levels", [1, 2, 3, 52, 717, 4096])
def test_a_level_without_weight_is_never_drawn(levels: int) -> None:
    weights = np.zeros((2, levels))
    weights[0, 0] = weights[1, levels - 1] = 1.0
    context = np.repeat(np.array([0, 1], dtype=np.int32), 50_000)
    drawn = Alias.build(weights).draw(np.random.default_rng(1), context)
    assert set(drawn[:50_000].tolist()) == {0}
    assert set(drawn[50_000:].tolist()) == {levels - 1}


def test_draws_follow_the_weights_of_their_context() -> None:
    weights = np.array([[7.0, 1, 1.5, 0.5], [0, 0, 1, 3]])
    context = np.tile(np.array([0, 1], dtype=np.int32), 100_000)
    drawn = Alias.build(weights).draw(np.random.default_rng(1), context)
    for number, row in enumerate(weights):
        shares = np.bincount(drawn[context == number], minlength=4) / 100_000
        assert np.allclose(shares, row / row.sum(), atol=0.006)


def test_the_same_generator_gives_the_same_draws() -> None:
    alias = Alias.build(np.arange(1.0, 9.0)[None, :])
    context = np.zeros(100, dtype=np.int32)
    first, again, other = (alias.draw(np.random.default_rng(seed), context).tolist() for seed in (5, 5, 6))
    assert first == again
    assert first != other
