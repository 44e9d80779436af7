"""Values that are possible but were not in the data that models learn from: scored all the same, and counted."""

from collections.abc import Mapping

from readmission.features.encoder import CategoryFeature, Encoder, NumberFeature, source_of
from readmission.features.icd9 import icd9_category
from readmission.features.record import RawValue
from readmission.schema import MISSING, RECORD_COLUMNS, Column, Kind

BEYOND_RANGE = "beyond_training_range"
UNSEEN_LEVEL = "unseen_level"


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
