"""Values that are possible but were not in the data that models learn from: scored all the same, and counted."""

from collections.abc import Mapping, Sequence

from readmission.features.encoder import CategoryFeature, Encoder, NumberFeature, source_of
from readmission.features.icd9 import icd9_category
from readmission.features.record import RawValue
from readmission.schema import MISSING, RECORD_COLUMNS, Column, Kind

BEYOND_RANGE = "beyond_training_range"
UNSEEN_LEVEL = "unseen_level"

MOST_MET = 5_000
"""Unusual values that are remembered, of all columns together; a caller may make up any number of others."""


class Unusual:
    """Tells ordinary values from others.

    Args:
        encoder: knows the diagnoses that training saw.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._columns: Mapping[str, Column] = {column.name: column for column in RECORD_COLUMNS}
        self._diagnoses: dict[str, frozenset[str | None]] = {
            source_of(feature).removesuffix("_category"): frozenset(feature.levels)
            for feature in encoder.features
            if not isinstance(feature, NumberFeature | CategoryFeature) and source_of(feature).endswith("_category")
        }

        self._places = {column.name: place for place, column in enumerate(RECORD_COLUMNS)}
        self._met: dict[str, dict[RawValue, str]] = {}
        self._met_at: list[tuple[str, int, dict[RawValue, str]]] = []

    def meet(self, name: str, value: RawValue, kind: str) -> bool:
        """Remember an unusual value, so that ``among`` finds it; False where there are too many already."""
        if sum(map(len, self._met.values())) >= MOST_MET:
            return False
        self._met = {**self._met, name: {**self._met.get(name, {}), value: kind}}
        self._met_at = [(column, self._places[column], met) for column, met in self._met.items()]
        return True

    def among(self, values: Sequence[RawValue]) -> list[tuple[str, str]]:
        """Find the unusual values of a record, each of which has been met before.

        Args:
            values: one for each of ``schema.RECORD_COLUMNS``, in their order.

        Returns:
            names of columns, and what is unusual.
        """
        return [(name, met[values[place]]) for name, place, met in self._met_at if values[place] in met]

    def find(self, name: str, value: RawValue) -> str | None:
        """Say what is unusual about a value; None: nothing."""
        if value is None or value == MISSING:
            return None
        column = self._columns[name]
        if column.kind is Kind.COUNT:
            return None if column.seen_low <= int(value) <= column.seen_high else BEYOND_RANGE
        if column.kind is Kind.DIAGNOSIS:
            known = self._diagnoses.get(name)
            return None if known is None or icd9_category(str(value)) in known else UNSEEN_LEVEL
        return None if str(value) in column.levels else UNSEEN_LEVEL
