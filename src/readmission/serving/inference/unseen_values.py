"""Values that are allowed but were not in the data that the model was trained on: scored all the same, and counted."""

from collections.abc import Mapping, Sequence

from readmission.features.encoder import CategoryFeature, Encoder, NumberFeature, source_of
from readmission.features.icd9 import icd9_category
from readmission.features.record import RawValue
from readmission.schema import MISSING, RECORD_COLUMNS, Column, Kind

BEYOND_RANGE = "beyond_training_range"
UNSEEN_LEVEL = "unseen_level"

MAX_REMEMBERED = 5_000
"""Unseen values that are remembered, of all columns together; a caller may make up any number of others."""


class UnseenValues:
    """Finds values that training did not see.

    It remembers those that it was handed, up to ``MAX_REMEMBERED``; what it finds does not depend on them.

    Args:
        encoder: holds the diagnoses that training saw.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._columns: Mapping[str, Column] = {column.name: column for column in RECORD_COLUMNS}
        self._diagnoses: dict[str, frozenset[str | None]] = {
            source_of(feature).removesuffix("_category"): frozenset(feature.levels)
            for feature in encoder.features
            if not isinstance(feature, NumberFeature | CategoryFeature) and source_of(feature).endswith("_category")
        }
        self._index = {column.name: index for index, column in enumerate(RECORD_COLUMNS)}
        self._remembered: dict[str, dict[RawValue, str]] = {}
        self._by_column: list[tuple[str, int, dict[RawValue, str]]] = []

    def remember(self, name: str, value: RawValue, reason: str) -> bool:
        """Remember an unseen value, so that ``among`` finds it; False where there are too many already."""
        if sum(map(len, self._remembered.values())) >= MAX_REMEMBERED:
            return False
        # Replaced, not changed: other threads may be reading them.
        self._remembered = {**self._remembered, name: {**self._remembered.get(name, {}), value: reason}}
        self._by_column = [(column, self._index[column], values) for column, values in self._remembered.items()]
        return True

    def among(self, values: Sequence[RawValue]) -> list[tuple[str, str]]:
        """Find the unseen values of a record, each of which is remembered.

        Args:
            values: one for each of ``schema.RECORD_COLUMNS``, in their order.

        Returns:
            names of columns, and the reason: ``BEYOND_RANGE`` or ``UNSEEN_LEVEL``.
        """
        return [(name, seen[values[index]]) for name, index, seen in self._by_column if values[index] in seen]

    def find(self, name: str, value: RawValue) -> str | None:
        """The reason why a value of a column is unseen; None where training saw it."""
        if value is None or value == MISSING:
            return None
        column = self._columns[name]
        if column.kind is Kind.COUNT:
            return None if column.seen_low <= int(value) <= column.seen_high else BEYOND_RANGE
        if column.kind is Kind.DIAGNOSIS:
            known = self._diagnoses.get(name)
            return None if known is None or icd9_category(str(value)) in known else UNSEEN_LEVEL
        return None if str(value) in column.levels else UNSEEN_LEVEL
