"""The cleaning rules: which clean column comes from which raw column, and how.

A rule is a pure function of one raw value (text, as the source writes it); it returns a typed value or None (missing).
``columns`` and ``record`` run the same functions, so training and API cannot clean differently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from readmission import schema
from readmission.features.comorbidity import CONDITIONS
from readmission.features.icd9 import icd9_category, icd9_group
from readmission.schema import MISSING, Kind

CleanValue = str | int | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One clean column from one raw column.

    Attributes:
        name: the clean column.
        source: the raw column.
        dtype: ``text`` or ``integer``, the type in PostgreSQL and in the encoder.
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
        weights: for text sources the weight of each level; empty for integers, which are summed as they are.
        per: clean integer column by which ten times the sum is divided, rounded down; missing and 0 count as 1.
    """

    name: str
    sources: tuple[str, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    per: str | None = None


BAND_DIGITS = 3
"""Digits of a number in a band; longer ones are not years or pounds and might not fit into the integer column."""


def text(value: str) -> str | None:
    """Keep a word or a code; ``?`` is missing.

    Codes for "not available", "NULL" and "not mapped" are kept: hospitals differ in which
    of them they use. Out of fold on training rows of the real file, that adds 0.0007 to weighted F1.
    """
    return None if value == MISSING else value


def known_gender(value: str) -> str | None:
    """Keep Female and Male; ``Unknown/Invalid`` is missing."""
    return None if value in (MISSING, "Unknown/Invalid") else value


def number(value: str) -> int | None:
    """Read a whole number; ``?`` is missing.

    Raises:
        ValueError: the text is not a whole number.
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
    """Convert a band to its midpoint; an unknown band is missing."""
    return BAND_MIDDLES.get(value)


def diagnosis_group(value: str) -> str | None:
    """Group an ICD-9 code; ``?`` is missing."""
    return None if value == MISSING else icd9_group(value)


def diagnosis_category(value: str) -> str | None:
    """Shorten an ICD-9 code to its category; ``?`` is missing."""
    return None if value == MISSING else icd9_category(value)


def group_of(groups: Mapping[str, str]) -> Callable[[str], str | None]:
    """Make a rule that maps codes to groups; a code without a group is missing."""
    return groups.get


def _groups(**codes: str) -> dict[str, str]:
    return {code: group for group, listed in codes.items() for code in listed.split()}


DISCHARGE_GROUPS = _groups(
    home="1",
    home_care="6 8",
    hospital="2 5 9 10 23 27 28 29 30",
    nursing="3 4 15 24",
    rehabilitation="22",
    against_advice="7",
    outpatient="12 16 17",
    died="11 19 20 21",
    hospice="13 14",
)
ADMISSION_SOURCE_GROUPS = _groups(
    referral="1 2 3",
    transfer="4 5 6 10 18 19 22 25 26",
    emergency="7",
    court="8",
    birth="11 12 13 14 23 24",
)
"""Groups of similar codes (IDs_mapping.csv of the source); codes that mean "unknown" have no group."""


_SPECIAL: dict[str, Rule] = {
    "gender": Rule("gender", "gender", "text", known_gender),
    "age": Rule("age", "age", "integer", band_middle),
    "weight": Rule("weight", "weight", "integer", band_middle),
}


def _rule(column: schema.Column) -> Rule:
    if column.name in _SPECIAL:
        return _SPECIAL[column.name]
    if column.kind is Kind.DIAGNOSIS:
        return Rule(f"{column.name}_group", column.name, "text", diagnosis_group)
    if column.kind is Kind.COUNT:
        return Rule(column.name, column.name, "integer", number)
    return Rule(column.name, column.name, "text", text)


_DIAGNOSES = tuple(column.name for column in schema.RECORD_COLUMNS if column.kind is Kind.DIAGNOSIS)

SECOND_VIEWS: tuple[Rule, ...] = (
    *(Rule(f"{name}_category", name, "text", diagnosis_category) for name in _DIAGNOSES),
    Rule("discharge_group", "discharge_disposition_id", "text", group_of(DISCHARGE_GROUPS)),
    Rule("admission_source_group", "admission_source_id", "text", group_of(ADMISSION_SOURCE_GROUPS)),
)
"""Clean columns that encode a raw column a second time, finer or coarser."""

RULES: tuple[Rule, ...] = (*(_rule(column) for column in schema.RECORD_COLUMNS), *SECOND_VIEWS)

_CATEGORIES = tuple(f"{name}_category" for name in _DIAGNOSES)

DERIVED: tuple[Derived, ...] = (
    Derived("prior_visits", ("number_outpatient", "number_emergency", "number_inpatient")),
    Derived("medications_given", schema.MEDICATIONS, {"Steady": 1, "Up": 1, "Down": 1}),
    Derived("acute_visits", ("number_emergency", "number_inpatient")),
    Derived("medications_changed", schema.MEDICATIONS, {"Up": 1, "Down": 1}),
    Derived("lab_procedures_per_10_days", ("num_lab_procedures",), per="time_in_hospital"),
    Derived("medications_per_10_days", ("num_medications",), per="time_in_hospital"),
    *(
        Derived(condition, _CATEGORIES, dict.fromkeys(sorted(categories), 1))
        for condition, categories in CONDITIONS.items()
    ),
)

FEATURE_TYPES: dict[str, Literal["text", "integer"]] = {
    **{rule.name: rule.dtype for rule in RULES},
    **{derived.name: "integer" for derived in DERIVED},
}
"""Every clean feature column and its type, in the order of the clean tables."""
