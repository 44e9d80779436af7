"""The three splits: training, validation and test."""

from enum import StrEnum


class Split(StrEnum):
    """The split that a row belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


SPLITS: tuple[Split, ...] = (Split.TRAIN, Split.VALIDATION, Split.TEST)
SHARES: tuple[float, ...] = (0.70, 0.15, 0.15)
"""Share of the rows in each split, in the order of SPLITS."""
