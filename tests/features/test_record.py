from typing import Any

import pyarrow as pa
import pytest
from feature_records import Record, example_record, record
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.features.record import clean_record
from readmission.features.rules import DERIVED, FEATURE_TYPES
from readmission.schema import IDENTIFIERS, LABEL_COLUMN, MEDICATIONS, MISSING

PYTHON_TYPES = {"text": str, "integer": int}


def test_the_documented_example() -> None:
    cleaned = clean_record(example_record())
    expected = {
        "race": "Caucasian",
        "age": 75,
        "weight": None,
        "admission_type_id": "1",
        "admission_source_id": "7",
        "time_in_hospital": 1,
        "payer_code": None,
        "diag_1_group": "diabetes",
        "diag_2_group": None,
        "A1Cresult": "None",
        "insulin": "No",
        "prior_visits": 0,
        "medications_given": 0,
    }
    assert {name: cleaned[name] for name in expected} == expected


def test_an_empty_record_is_all_missing() -> None:
    cleaned = clean_record({})
    counted = {derived.name for derived in DERIVED}
    assert {name for name, value in cleaned.items() if value is not None} == counted
    assert {cleaned[name] for name in counted} == {0}


@settings(max_examples=30)
@given(record)
def test_every_feature_is_there_in_order_and_typed(raw: Record) -> None:
    cleaned = clean_record(raw)
    assert list(cleaned) == list(FEATURE_TYPES)
    assert all(value is None or type(value) is PYTHON_TYPES[FEATURE_TYPES[name]] for name, value in cleaned.items())


@settings(max_examples=20)
@given(record)
def test_a_number_and_its_text_are_the_same(raw: Record) -> None:
    as_text = {name: None if value is None else str(value) for name, value in raw.items()}
    assert clean_record(as_text) == clean_record(raw)


@settings(max_examples=20)
@given(record)
def test_none_absent_and_question_mark_are_the_same(raw: Record) -> None:
    known = {name: value for name, value in raw.items() if value not in (None, MISSING)}
    assert clean_record(known) == clean_record(raw) == clean_record({name: raw.get(name, MISSING) for name in raw})


@settings(max_examples=12)
@given(record, st.sampled_from((*IDENTIFIERS, LABEL_COLUMN)), st.one_of(st.integers(), st.text()))
def test_identifiers_and_outcome_have_no_influence(raw: Record, name: str, value: Any) -> None:
    assert clean_record({**raw, name: value}) == clean_record(raw)


def test_prior_visits_sum_what_is_known() -> None:
    visits: Record = {"number_outpatient": 2, "number_emergency": "?", "number_inpatient": "5"}
    assert clean_record(visits)["prior_visits"] == 7


def test_medications_are_counted_by_what_happened_to_them() -> None:
    doses = ["Steady", "Up", "Down", "No", MISSING, "Sideways"]
    cleaned = clean_record(dict(zip(MEDICATIONS, doses, strict=False)))
    assert (cleaned["medications_given"], cleaned["medications_changed"]) == (3, 2)


def test_a_broken_count_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        clean_record({"num_medications": "many"})


def test_the_record_is_left_as_it_was() -> None:
    raw = example_record()
    clean_record(raw)
    assert raw == example_record()


def test_values_fit_the_columns_of_arrow() -> None:
    cleaned = clean_record(example_record())
    table = pa.Table.from_pylist([cleaned])
    assert table.to_pylist() == [cleaned]
