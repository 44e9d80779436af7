import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmission import schema
from readmission.features.columns import ARROW_TYPES
from readmission.features.comorbidity import CONDITIONS
from readmission.features.rules import (
    ADMISSION_SOURCE_GROUPS,
    DERIVED,
    DISCHARGE_GROUPS,
    FEATURE_TYPES,
    RULES,
    SECOND_VIEWS,
    Rule,
    band_middle,
    diagnosis_category,
    diagnosis_group,
    known_gender,
    number,
    text,
)
from readmission.schema import BY_NAME, MISSING, RECORD_COLUMNS, Kind

FIRST_VIEWS = [rule for rule in RULES if rule not in SECOND_VIEWS]
BY_SOURCE = {rule.source: rule for rule in FIRST_VIEWS}
UNKNOWN_CODES = {
    "discharge_disposition_id": {"18", "25", "26"},
    "admission_source_id": {"9", "15", "17", "20", "21"},
}
"""Codes that IDs_mapping.csv describes as NULL, not available, not mapped, unknown or invalid."""


def test_each_column_of_a_stay_has_one_rule() -> None:
    assert [rule.source for rule in FIRST_VIEWS] == [column.name for column in RECORD_COLUMNS]


def test_each_known_code_that_says_something_has_a_group() -> None:
    for name, groups in (
        ("discharge_disposition_id", DISCHARGE_GROUPS),
        ("admission_source_id", ADMISSION_SOURCE_GROUPS),
    ):
        unlisted = {"16"} if name == "admission_source_id" else set()  # the source's list of codes skips it
        assert set(BY_NAME[name].levels) - groups.keys() == UNKNOWN_CODES[name] | unlisted
        assert not groups.keys() & UNKNOWN_CODES[name]
        assert groups.keys() <= set(BY_NAME[name].levels)


def test_codes_are_with_those_of_their_meaning() -> None:
    """By IDs_mapping.csv of the source: 16 and 17 are outpatient services, 30 is another institution, not home."""
    assert {code for code, group in DISCHARGE_GROUPS.items() if group == "outpatient"} == {"12", "16", "17"}
    assert {code for code, group in DISCHARGE_GROUPS.items() if group == "home"} == {"1"}
    assert DISCHARGE_GROUPS["30"] == "hospital"


def test_the_dead_and_dying_are_those_that_may_be_left_out() -> None:
    gone = {code for code, group in DISCHARGE_GROUPS.items() if group in ("died", "hospice")}
    assert gone == set(schema.EXPIRED_DISCHARGES)


@pytest.mark.parametrize(
    ("code", "conditions"),
    [
        ("428", {"heart_failure"}),
        ("428.23", {"heart_failure"}),
        ("250.42", {"diabetes_complicated"}),
        ("250.02", set()),
        ("V45", {"renal_failure"}),
        ("585", {"renal_failure"}),
        ("038", {"sepsis"}),
        ("38", {"sepsis"}),
        ("E909", set()),
    ],
)
def test_a_code_belongs_to_its_conditions(code: str, conditions: set[str]) -> None:
    category = diagnosis_category(code)
    assert {name for name, categories in CONDITIONS.items() if category in categories} == conditions


def test_no_rule_reads_an_identifier_or_the_outcome() -> None:
    assert not {rule.source for rule in RULES} & {*schema.IDENTIFIERS, schema.LABEL_COLUMN}


def test_feature_names_are_unique_and_typed() -> None:
    assert len(FEATURE_TYPES) == len(RULES) + len(DERIVED)
    assert set(FEATURE_TYPES.values()) <= set(ARROW_TYPES)


@pytest.mark.parametrize("derived", DERIVED, ids=lambda derived: derived.name)
def test_derived_columns_sum_what_exists(derived) -> None:
    kind = "text" if derived.weights else "integer"
    assert {FEATURE_TYPES[name] for name in derived.sources} == {kind}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_question_mark_is_missing_in_every_column(rule: Rule) -> None:
    assert rule.clean(MISSING) is None


@pytest.mark.parametrize(
    "column", [column for column in RECORD_COLUMNS if column.levels], ids=lambda column: column.name
)
def test_known_levels_stay_known_but_for_a_gender_that_says_unknown(column: schema.Column) -> None:
    missing = {level for level in column.levels if BY_SOURCE[column.name].clean(level) is None}
    assert missing == ({"Unknown/Invalid"} if column.name == "gender" else set())


@pytest.mark.parametrize("name", ["max_glu_serum", "A1Cresult"])
def test_not_measured_is_a_level_of_its_own(name: str) -> None:
    assert BY_SOURCE[name].clean("None") == "None"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_type_of_a_rule_is_the_type_of_its_values(rule: Rule) -> None:
    column = BY_NAME[rule.source]
    examples = column.levels or (("250.83",) if column.kind is Kind.DIAGNOSIS else (str(column.seen_high),))
    types = {type(value) for example in examples if (value := rule.clean(example)) is not None}
    assert types == {int if rule.dtype == "integer" else str}


def test_ages_become_the_middles_of_their_bands() -> None:
    assert [band_middle(band) for band in schema.AGE_BANDS] == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]


def test_weights_become_the_middles_of_their_bands() -> None:
    assert [band_middle(band) for band in schema.WEIGHT_BANDS] == [12, 37, 62, 87, 112, 137, 162, 187, 212]


@pytest.mark.parametrize(
    "band",
    [MISSING, "", "None", "[-)", "[70-)", "[-80)", "[a-b)", "[7.5-8)", "[-5-10)", ">100", "²-²", "[0-99999999999)"],
)
def test_an_unknown_band_is_missing(band: str) -> None:
    assert band_middle(band) is None


@given(st.text(max_size=30) | st.from_regex(r"\[\d{0,40}-\d{0,40}\)", fullmatch=True))
def test_a_band_is_missing_or_a_number_of_float32(band: str) -> None:
    middle = band_middle(band)
    assert middle is None or 0 <= middle <= 2**24


def test_genders() -> None:
    assert [known_gender(value) for value in ("Female", "Male", "Unknown/Invalid", MISSING)] == [
        "Female",
        "Male",
        None,
        None,
    ]


def test_words_stay_as_they_are() -> None:
    assert [text(value) for value in ("Caucasian", "None", "", MISSING)] == ["Caucasian", "None", "", None]


def test_numbers() -> None:
    assert [number(value) for value in ("0", "41", MISSING)] == [0, 41, None]


@pytest.mark.parametrize("value", ["", "4.5", "many", "None"])
def test_a_count_that_is_no_whole_number_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        number(value)


def test_diagnoses_become_groups() -> None:
    assert [diagnosis_group(value) for value in ("250.83", "V45", MISSING)] == ["diabetes", "supplementary", None]
