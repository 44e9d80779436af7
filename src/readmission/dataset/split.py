"""Split encounters into train, validation and test, and training rows into batches. Pure functions over arrays.

A group (a patient, or a single encounter) goes to one split as a whole. Groups with the same label counts are
interchangeable, so each such kind is divided in proportion; groups that remain go to the split that lacks most rows of
their labels. That keeps both sizes and class shares close to their targets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from readmission.dataset.splits import SHARES, SPLITS
from readmission.errors import BadInputError

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

UNASSIGNED = -1

MAX_BATCHES = 1_000
"""Each batch is a table, a cumulative view, and one more training of every model type."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows in groups.

    Attributes:
        keys: the groups' numbers, sorted, shape (g,).
        of_row: index into ``keys`` of each row, shape (n,).
        labels: rows of each label in each group, shape (g, number of labels).
    """

    keys: Ints
    of_row: Ints
    labels: Ints


def gather(keys: Ints, labels: Codes, n_labels: int) -> Groups:
    """Group rows by key.

    Args:
        keys: patient or encounter number of each row, shape (n,).
        labels: index of each row's label, shape (n,).
        n_labels: how many labels there are.
    """
    unique, of_row = np.unique(keys, return_inverse=True)
    cells = of_row.astype(np.int64) * n_labels + labels
    counts = np.bincount(cells, minlength=len(unique) * n_labels).reshape(len(unique), n_labels)
    return Groups(unique, of_row.astype(np.int64), counts.astype(np.int64))


def assign_splits(groups: Groups, known: Codes, seed: int) -> Codes:
    """Assign each group to a split, stratified by its label counts.

    Args:
        groups: from ``gather``.
        known: split of each group that has one already, else UNASSIGNED; shape (g,).
        seed: of the draw among interchangeable groups.

    Returns:
        index into SPLITS of each group, shape (g,); known ones unchanged.
    """
    splits = known.copy()
    fresh = np.flatnonzero(known == UNASSIGNED)
    if not len(fresh):
        return splits
    shuffled = np.random.default_rng(seed).permutation(fresh)
    kinds, kind_of = np.unique(groups.labels[shuffled], axis=0, return_inverse=True)
    members = np.argsort(kind_of.reshape(-1), kind="stable")
    counts = np.bincount(kind_of.reshape(-1), minlength=len(kinds))
    splits[shuffled[members]] = _divide(kinds, counts)
    return splits


def _divide(kinds: Ints, counts: Ints) -> Codes:
    """Splits for the groups of each kind, in the order of the kinds; kinds with most rows are divided first."""
    shares = np.array(SHARES)
    missing = np.zeros((len(SPLITS), kinds.shape[1]))  # rows of each label that a split lacks so far
    chosen: list[Codes] = [np.empty(0, np.int8)] * len(kinds)
    for position in np.argsort(-kinds.sum(axis=1), kind="stable"):
        per_split = np.floor(shares * counts[position]).astype(np.int64)
        missing += (shares * counts[position] - per_split)[:, None] * kinds[position]
        for _ in range(int(counts[position] - per_split.sum())):
            split = int(np.argmax(missing @ kinds[position]))
            per_split[split] += 1
            missing[split] -= kinds[position]
        chosen[position] = np.repeat(np.arange(len(SPLITS), dtype=np.int8), per_split)
    return np.concatenate(chosen)


def cut_batches(rows: int, seed: int, batch_size: int | None, batches: int | None) -> npt.NDArray[np.int16]:
    """Shuffle training rows and cut them into batches.

    Args:
        rows: number of training rows, n.
        seed: of the shuffle.
        batch_size: rows per batch; the last one holds the rest.
        batches: number of batches, equal within one row; overrides ``batch_size``.

    Returns:
        batch of each row, shape (n,), numbered from 0 without gaps.

    Raises:
        BadInputError: there would be more than MAX_BATCHES.
    """
    order = np.random.default_rng(seed).permutation(rows)
    size = batch_size or max(1, rows)
    count = min(batches, rows) if batches else -(-rows // size)
    if count > MAX_BATCHES:
        raise BadInputError(f"{count} batches are too many, at most {MAX_BATCHES} are possible; make them larger")
    batch_of = np.empty(rows, np.int16)
    position = np.arange(rows)
    batch_of[order] = position * count // rows if batches else position // size
    return batch_of


def class_shares(labels: Codes, n_labels: int) -> npt.NDArray[np.float64]:
    """Share of each label; shape (number of labels,)."""
    return np.bincount(labels, minlength=n_labels) / max(1, len(labels))
