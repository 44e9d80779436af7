"""The parts of a split."""

from enum import StrEnum


class Part(StrEnum):
    """Where a row belongs."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


PARTS: tuple[Part, ...] = (Part.TRAIN, Part.VALIDATION, Part.TEST)
SHARES: tuple[float, ...] = (0.70, 0.15, 0.15)
"""Share of each part, in the order of PARTS."""
