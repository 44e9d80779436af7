import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from readmission.training.folds import FOLDS, draw_folds


@given(st.lists(st.integers(0, 40), min_size=1, max_size=200))
def test_a_patient_is_in_one_fold(patients: list[int]) -> None:
    folds = draw_folds(np.array(patients))
    for patient in set(patients):
        assert len({fold for fold, name in zip(folds, patients, strict=True) if name == patient}) == 1


def test_folds_are_alike_and_fixed() -> None:
    patients = np.random.default_rng(0).integers(0, 3000, 9000)
    folds = draw_folds(patients)
    counts = np.bincount(folds)
    assert len(counts) == FOLDS
    assert counts.max() / counts.min() < 1.1
    np.testing.assert_array_equal(folds, draw_folds(patients))
