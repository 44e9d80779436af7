import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.dataset.row_keys import read_keys
from readmission.dataset.split import UNASSIGNED, Groups, assign_splits, class_shares, cut_batches, gather
from readmission.dataset.splits import SHARES, SPLITS, Split
from readmission.errors import BadInputError
from readmission.schema import LABELS

Codes = npt.NDArray[np.int8]

SIZE_TOLERANCE = 0.005
"""Half a percentage point."""

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Population:
    """Encounters of patients who return, with outcomes that differ between those who do and those who do not."""

    keys: npt.NDArray[np.int64]
    labels: Codes

    @property
    def groups(self) -> Groups:
        return gather(self.keys, self.labels, len(LABELS))


@st.composite
def populations(draw: st.DrawFn, min_rows: int = 6_000, max_rows: int = 20_000) -> Population:
    random = np.random.default_rng(draw(seeds))
    returns = draw(st.floats(0.2, 0.7))
    shares = random.dirichlet(np.array([8.0, 5.0, 2.0]), size=2)
    rows = draw(st.integers(min_rows, max_rows))
    sizes = np.minimum(random.geometric(1 - returns, rows), 40)
    patients = np.repeat(random.permutation(10 * rows)[:rows], sizes)[:rows]
    once = np.repeat(sizes == 1, sizes)[:rows].astype(int)
    labels = (random.random(rows)[:, None] > np.cumsum(shares, axis=1)[once]).sum(axis=1)
    order = random.permutation(rows)
    return Population(patients[order].astype(np.int64), np.minimum(labels, 2)[order].astype(np.int8))


def fresh(groups: Groups) -> Codes:
    return np.full(len(groups.keys), UNASSIGNED, np.int8)


def splits_of_rows(population: Population, seed: int, known: Codes | None = None) -> Codes:
    groups = population.groups
    return assign_splits(groups, fresh(groups) if known is None else known, seed)[groups.of_row]


def assert_balanced(labels: Codes, split_of_row: Codes) -> None:
    whole = class_shares(labels, len(LABELS))
    for split, share in enumerate(SHARES):
        rows = split_of_row == split
        assert abs(rows.mean() - share) <= SIZE_TOLERANCE
        assert np.abs(class_shares(labels[rows], len(LABELS)) - whole).max() <= SIZE_TOLERANCE


def splits_by_key(keys: npt.NDArray[np.int64], split_of_row: Codes) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for key, split in zip(keys.tolist(), split_of_row.tolist(), strict=True):
        found.setdefault(key, set()).add(split)
    return found


def test_splits_and_shares() -> None:
    assert dict(zip(SPLITS, SHARES, strict=True)) == {Split.TRAIN: 0.70, Split.VALIDATION: 0.15, Split.TEST: 0.15}


@settings(max_examples=40)
@given(populations(), seeds)
def test_sizes_and_class_shares_are_close_to_their_targets(population: Population, seed: int) -> None:
    assert_balanced(population.labels, splits_of_rows(population, seed))


@settings(max_examples=15)
@given(populations(), seeds)
def test_each_group_is_in_one_split(population: Population, seed: int) -> None:
    splits = splits_by_key(population.keys, splits_of_rows(population, seed))
    assert {len(found) for found in splits.values()} == {1}
    assert set().union(*splits.values()) == {0, 1, 2}


@settings(max_examples=15)
@given(populations(), seeds, st.floats(0.01, 0.99))
def test_known_groups_keep_their_split(population: Population, seed: int, share: float) -> None:
    groups = population.groups
    random = np.random.default_rng(seed)
    known = np.where(random.random(len(groups.keys)) < share, random.integers(0, 3, len(groups.keys)), UNASSIGNED)
    splits = assign_splits(groups, known.astype(np.int8), seed)
    known_already = known != UNASSIGNED
    assert (splits[known_already] == known[known_already]).all()
    assert set(np.unique(splits)) <= {0, 1, 2}


@settings(max_examples=15)
@given(populations(), populations(), seeds)
def test_new_groups_are_balanced_beside_known_ones(first: Population, second: Population, seed: int) -> None:
    groups = gather(
        np.concatenate([first.keys, -1 - second.keys]), np.concatenate([first.labels, second.labels]), len(LABELS)
    )
    known = fresh(groups)
    known[groups.keys >= 0] = assign_splits(first.groups, fresh(first.groups), seed)
    split_of_row = assign_splits(groups, known, seed + 1)[groups.of_row]
    assert_balanced(second.labels, split_of_row[len(first.labels) :])


@settings(max_examples=10)
@given(populations(), seeds)
def test_a_seed_draws_the_same_splits_again_and_another_seed_others(population: Population, seed: int) -> None:
    once = splits_of_rows(population, seed)
    np.testing.assert_array_equal(splits_of_rows(population, seed), once)
    assert (splits_of_rows(population, seed + 1) != once).any()


@settings(max_examples=10)
@given(populations(), seeds)
def test_the_order_of_rows_does_not_matter(population: Population, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(population.keys))
    shuffled = Population(population.keys[order], population.labels[order])
    np.testing.assert_array_equal(splits_of_rows(shuffled, seed), splits_of_rows(population, seed)[order])


def test_nothing_new_changes_nothing() -> None:
    groups = gather(np.array([5, 5, 9]), np.array([0, 1, 2], np.int8), 3)
    known = np.array([2, 0], np.int8)
    np.testing.assert_array_equal(assign_splits(groups, known, 1), known)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_tiny_files_are_split_too(rows: int) -> None:
    keys, labels = np.arange(rows), np.zeros(rows, np.int8)
    splits = assign_splits(gather(keys, labels, 3), np.full(rows, UNASSIGNED, np.int8), 1)
    assert ((splits >= 0) & (splits <= 2)).all()


def test_groups_count_their_labels() -> None:
    groups = gather(np.array([30, 10, 30, 10, 20]), np.array([0, 2, 0, 1, 2], np.int8), 3)
    assert groups.keys.tolist() == [10, 20, 30]
    assert groups.of_row.tolist() == [2, 0, 2, 0, 1]
    assert groups.labels.tolist() == [[0, 1, 1], [0, 0, 1], [2, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1))
def test_gathering_loses_no_row(rows: list[tuple[int, int]]) -> None:
    keys, labels = np.array([key for key, _ in rows]), np.array([label for _, label in rows], np.int8)
    groups = gather(keys, labels, 3)
    assert groups.keys.tolist() == sorted(set(keys.tolist()))
    np.testing.assert_array_equal(groups.keys[groups.of_row], keys)
    counted = {key: [rows.count((key, label)) for label in range(3)] for key in groups.keys.tolist()}
    assert groups.labels.tolist() == list(counted.values())


@given(st.integers(1, 3_000), seeds, st.integers(3, 3_500))
def test_batches_of_a_size_are_full_but_the_last(rows: int, seed: int, size: int) -> None:
    batch_of = cut_batches(rows, seed, size, None)
    sizes = np.bincount(batch_of)
    assert batch_of.shape == (rows,)
    assert len(sizes) == -(-rows // size)
    assert (sizes[:-1] == size).all()
    assert 1 <= sizes[-1] <= size


@given(st.integers(1, 3_000), seeds, st.integers(1, 50), st.integers(1, 99) | st.none())
def test_a_number_of_batches_is_cut_evenly(rows: int, seed: int, batches: int, size: int | None) -> None:
    batch_of = cut_batches(rows, seed, size, batches)
    sizes = np.bincount(batch_of)
    assert batch_of.shape == (rows,)
    assert len(sizes) == min(batches, rows)
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1


@pytest.mark.parametrize(("size", "batches"), [(1, None), (39, None), (None, 1_001), (15_000, 40_000)])
def test_too_many_batches_are_refused(size: int | None, batches: int | None) -> None:
    with pytest.raises(BadInputError, match=r"^[0-9]+ batches are too many, at most 1000"):
        cut_batches(40_000, 1, size, batches)


def test_the_largest_number_of_batches() -> None:
    assert np.bincount(cut_batches(40_000, 1, None, 1_000)).tolist() == [40] * 1_000


def test_without_a_size_there_is_one_batch() -> None:
    assert cut_batches(5, 1, None, None).tolist() == [0] * 5


@pytest.mark.parametrize(("size", "batches"), [(10, None), (None, 3), (None, None)])
def test_no_rows_make_no_batch(size: int | None, batches: int | None) -> None:
    assert cut_batches(0, 1, size, batches).tolist() == []


def test_batches_are_shuffled_by_their_seed() -> None:
    once = cut_batches(1_000, 3, 100, None)
    np.testing.assert_array_equal(cut_batches(1_000, 3, 100, None), once)
    assert (cut_batches(1_000, 4, 100, None) != once).any()
    assert len(set(once[:100].tolist())) > 1


def test_class_shares() -> None:
    assert class_shares(np.array([0, 0, 1, 0], np.int8), 3).tolist() == [0.75, 0.25, 0.0]
    assert class_shares(np.array([], np.int8), 3).tolist() == [0.0, 0.0, 0.0]


def test_the_real_file_by_patient(real_csv: Path) -> None:
    keys = read_keys(real_csv)
    split_of_row = splits_of_rows(Population(keys.patient_nbr, keys.labels), 42)
    assert_balanced(keys.labels, split_of_row)
    splits = splits_by_key(keys.patient_nbr, split_of_row)
    assert len(splits) == 71_518
    assert {len(found) for found in splits.values()} == {1}


def test_the_real_file_by_encounter(real_csv: Path) -> None:
    keys = read_keys(real_csv)
    split_of_row = splits_of_rows(Population(keys.encounter_id, keys.labels), 42)
    sizes = np.bincount(split_of_row)
    assert np.abs(sizes - np.array(SHARES) * 101_766).max() < 2
    assert_balanced(keys.labels, split_of_row)
    split_patients = [found for found in splits_by_key(keys.patient_nbr, split_of_row).values() if len(found) > 1]
    assert len(split_patients) > 1_000  # what the split by patient prevents


def test_the_real_file_in_batches(real_csv: Path) -> None:
    with real_csv.open(newline="") as file:
        rows = sum(1 for _ in csv.reader(file)) - 1
    training = int(rows * 0.7)
    assert np.bincount(cut_batches(training, 42, 15_000, None)).tolist() == [15_000] * 4 + [training - 60_000]
    assert len(np.bincount(cut_batches(training, 42, 15_000, 7))) == 7
