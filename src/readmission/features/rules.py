"""The cleaning rules: which clean column comes from which raw column, and how.

Stateless: a rule looks at one raw value (text, as the source writes it) and answers a typed value or None for missing.
Both executors run these same functions, so training and service cannot clean differently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from readmission import schema
from readmission.features.icd9 import icd9_group
from readmission.schema import MISSING, Kind

CleanValue = str | int | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One clean column from one raw column.

    Attributes:
        name: the clean column.
        source: the raw column.
        dtype: ``text`` or ``integer``; what PostgreSQL and the encoder see.
        clean: raw text to value, None for missing.
    """

    name: str
    source: str
    dtype: Literal["text", "integer"]
    clean: Callable[[str], CleanValue]


@dataclass(frozen=True, slots=True)
class Derived:
    """One clean integer column that sums over others.

    Attributes:
        name: the clean column.
        sources: clean columns that it reads.
        weights: for text sources what each level counts; empty for integers, which count as they are.
    """

    name: str
    sources: tuple[str, ...]
    weights: Mapping[str, int] = field(default_factory=dict)


UNKNOWN_ADMISSION_TYPES = frozenset({"5", "6", "8"})
UNKNOWN_DISCHARGES = frozenset({"18", "25", "26"})
UNKNOWN_SOURCES = frozenset({"9", "15", "17", "20", "21"})
"""Codes that say "not available", "NULL", "not mapped" or "unknown" (IDs_mapping.csv of the source)."""


BAND_DIGITS = 3
"""Longer numbers in a band are no years or pounds, and may not fit into the integer column."""


def text(value: str) -> str | None:
    """Keep a word; ``?`` is missing."""
    return None if value == MISSING else value


def known_gender(value: str) -> str | None:
    """Keep Female and Male; ``Unknown/Invalid`` is missing."""
    return None if value in (MISSING, "Unknown/Invalid") else value


def number(value: str) -> int | None:
    """Read a whole number; ``?`` is missing.

    Raises:
        ValueError: the text is no whole number.
    """
    return None if value == MISSING else int(value)


def _middle(band: str) -> int:
    low, high = band.strip("[)").split("-")
    return (int(low) + int(high)) // 2


BAND_MIDDLES: dict[str, int] = {
    **{band: _middle(band) for band in (*schema.AGE_BANDS, *schema.WEIGHT_BANDS) if band.startswith("[")},
    ">200": 212,
}
"""Middle of each band: ``[70-80)`` is 75 (years), ``[75-100)`` is 87, ``>200`` the next band's 212 (pounds)."""


def band_middle(value: str) -> int | None:
    """Turn a band into its middle; an unknown band is missing."""
    return BAND_MIDDLES.get(value)


def code_without(unknown: frozenset[str]) -> Callable[[str], str | None]:
    """Make a rule that keeps a code as a category and drops those that say "unknown"."""

    def clean(value: str) -> str | None:
        return None if value == MISSING or value in unknown else value

    return clean


def diagnosis_group(value: str) -> str | None:
    """Group an ICD-9 code; ``?`` is missing."""
    return None if value == MISSING else icd9_group(value)


_SPECIAL: dict[str, Rule] = {
    "gender": Rule("gender", "gender", "text", known_gender),
    "age": Rule("age", "age", "integer", band_middle),
    "weight": Rule("weight", "weight", "integer", band_middle),
    "admission_type_id": Rule(
        "admission_type_id", "admission_type_id", "text", code_without(UNKNOWN_ADMISSION_TYPES)
    ),
    "discharge_disposition_id": Rule(
        "discharge_disposition_id", "discharge_disposition_id", "text", code_without(UNKNOWN_DISCHARGES)
    ),
    "admission_source_id": Rule("admission_source_id", "admission_source_id", "text", code_without(UNKNOWN_SOURCES)),
}  # fmt: skip


def _rule(column: schema.Column) -> Rule:
    if column.name in _SPECIAL:
        return _SPECIAL[column.name]
    if column.kind is Kind.DIAGNOSIS:
        return Rule(f"{column.name}_group", column.name, "text", diagnosis_group)
    if column.kind is Kind.COUNT:
        return Rule(column.name, column.name, "integer", number)
    return Rule(column.name, column.name, "text", text)


RULES: tuple[Rule, ...] = tuple(_rule(column) for column in schema.RECORD_COLUMNS)

DERIVED: tuple[Derived, ...] = (
    Derived("prior_visits", ("number_outpatient", "number_emergency", "number_inpatient")),
    Derived("medications_given", schema.MEDICATIONS, {"Steady": 1, "Up": 1, "Down": 1}),
    Derived("medications_changed", schema.MEDICATIONS, {"Up": 1, "Down": 1}),
)

FEATURE_TYPES: dict[str, Literal["text", "integer"]] = {
    **{rule.name: rule.dtype for rule in RULES},
    **{derived.name: "integer" for derived in DERIVED},
}
"""Every clean feature column and its type, in the order of the clean tables."""
