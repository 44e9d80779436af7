import numpy as np
import pytest

from readmission.evaluation import importance
from readmission.evaluation.importance import permutation_importance
from readmission.features.encoder import Encoder, NumberFeature, RateFeature

RATE = {"levels": ("a",), "rates": (0.1,), "other": 0.1}
ENCODER = Encoder(
    features=(
        NumberFeature(name="noise", fill=0),
        NumberFeature(name="signal", fill=0),
        RateFeature(name="signal_rate", source="signal", outcome="<30", **RATE),
    )
)


def predict(matrix: np.ndarray) -> np.ndarray:
    """Looks at the second column only."""
    soon = np.where(matrix[:, 1] > 0, 0.8, 0.1)
    return np.stack([1 - soon - 0.05, np.full(len(soon), 0.05), soon], axis=1)


def test_what_the_model_looks_at_is_important_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.choice([-1.0, 1.0], (2_000, 3)).astype(np.float32)
    labels = np.where(generator.random(2_000) < predict(matrix)[:, 2], 2, 0).astype(np.int8)
    before = matrix.copy()
    first, second = permutation_importance(predict, ENCODER, matrix, labels)
    assert (first.name, second.name) == ("signal", "noise")
    assert first.loss > 0.3
    assert second.loss == second.spread == 0
    np.testing.assert_array_equal(matrix, before)


def test_of_very_many_rows_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "MOST_ROWS", 500)
    generator = np.random.default_rng(0)
    matrix = generator.choice([-1.0, 1.0], (3_000, 3)).astype(np.float32)
    labels = np.where(generator.random(3_000) < predict(matrix)[:, 2], 2, 0).astype(np.int8)
    asked = []

    def count(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return predict(rows)

    first, _ = permutation_importance(count, ENCODER, matrix, labels)
    assert first.name == "signal"
    assert set(asked) == {500}
