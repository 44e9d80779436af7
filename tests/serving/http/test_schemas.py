"""What a record may hold: the schema's columns, their ranges, nothing else; and that OpenAPI says the same."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_predict_api import ANY_JSON

from documented import FULL_BODY, PARTIAL_BODY
from readmission.schema import COLUMN_NAMES, RECORD_COLUMNS, Column, Kind
from readmission.serving.http.schemas import (
    EXAMPLE,
    FEATURES_SCHEMA,
    PARTIAL_EXAMPLE,
    PREDICT_REQUEST_SCHEMA,
)
from readmission.serving.inference.decoding import decode_record
from readmission.serving.inference.errors import InvalidFieldsError
from readmission.serving.inference.validation import MAX_TEXT, check_record

NUMBERS = [column for column in RECORD_COLUMNS if column.is_number]
TEXTS = [column for column in RECORD_COLUMNS if not column.is_number]
IDS = {"ids": lambda column: column.name}


def read(features: dict[str, Any]) -> dict[str, Any]:
    values = check_record(decode_record(json.dumps({"features": features}).encode()).values)
    return {column.name: value for column, value in zip(RECORD_COLUMNS, values, strict=True) if value is not None}


def raw(**features: Any) -> dict[str, Any]:
    return read(features)


def refused(**features: Any) -> str:
    with pytest.raises(InvalidFieldsError) as caught:
        read(features)
    (error,) = caught.value.errors
    assert error.field == f"features.{next(iter(features))}"
    return error.detail


def test_the_examples_are_the_documented_ones() -> None:
    assert json.loads(FULL_BODY) == EXAMPLE
    assert list(json.loads(FULL_BODY)["features"]) == list(EXAMPLE["features"])
    assert json.loads(PARTIAL_BODY) == PARTIAL_EXAMPLE


def test_every_column_of_the_schema_is_a_field_and_nothing_else() -> None:
    assert sorted(FEATURES_SCHEMA["properties"]) == sorted(COLUMN_NAMES)


@given(st.dictionaries(st.sampled_from(COLUMN_NAMES) | st.text(max_size=5), ANY_JSON, max_size=4))
def test_the_json_schema_allows_what_is_read(features: dict[str, Any]) -> None:
    components = {"components": {"schemas": {"Features": FEATURES_SCHEMA}}}
    try:
        jsonschema.validate(json.loads(json.dumps({"features": features})), PREDICT_REQUEST_SCHEMA | components)
    except jsonschema.ValidationError:
        with pytest.raises(InvalidFieldsError):
            read(features)
    else:
        read(features)


@pytest.mark.parametrize("column", NUMBERS, **IDS)
def test_numbers_have_their_possible_range(column: Column) -> None:
    for value in (column.low, column.high):
        assert raw(**{column.name: value}) == {column.name: value}
    for value in (column.low - 1, column.high + 1, 10**300, -(10**300)):
        expected = f'must be a whole number from {column.low} to {column.high}, "?" or null'
        assert refused(**{column.name: value}) == expected


@pytest.mark.parametrize("value", ["5", "", "None", 1.5, float("nan"), float("inf"), True, False, [1], {"a": 1}])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    assert "whole number" in refused(time_in_hospital=value)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    features = raw(time_in_hospital=5.0, admission_type_id=3.0)
    assert features == {"time_in_hospital": 5, "admission_type_id": 3}
    assert {type(value) for value in features.values()} == {int}  # "3.0" would be an unseen code


@pytest.mark.parametrize("column", RECORD_COLUMNS, **IDS)
@pytest.mark.parametrize("value", [None, "?"])
def test_every_field_may_be_missing(column: Column, value: object) -> None:
    assert raw(**{column.name: value}) in ({}, {column.name: "?"})


@pytest.mark.parametrize("column", TEXTS, **IDS)
def test_texts_have_a_limit(column: Column) -> None:
    longest = "x" * MAX_TEXT
    assert raw(**{column.name: longest}) == {column.name: longest}
    for value in (longest + "x", 5, 1.5, True, ["x"], {"x": "y"}):
        assert refused(**{column.name: value}) == f"must be text of up to {MAX_TEXT} characters or null"


@given(st.text(max_size=MAX_TEXT))
def test_any_short_text_is_a_level(text: str) -> None:
    assert raw(race=text) == {"race": text}


@pytest.mark.parametrize("name", ["encounter_id", "patient_nbr", "readmitted"])
@pytest.mark.parametrize("value", [7, "<30", None, {"a": [1]}])
def test_identifiers_and_outcome_are_ignored(name: str, value: object) -> None:
    assert raw(**{name: value, "race": "Asian"}) == {"race": "Asian"}


@pytest.mark.parametrize("name", ["Race", "glyburide_metformin", "blood_type", "", "features"])
def test_an_unknown_field_is_refused(name: str) -> None:
    assert refused(**{name: "No"}) == "is no field of a record"


def test_the_json_schema_describes_every_column() -> None:
    for column in RECORD_COLUMNS:
        described = FEATURES_SCHEMA["properties"][column.name]
        assert described["description"] == column.description
        assert described["x-kind"] == column.kind
        assert described["examples"] == [EXAMPLE["features"][column.name]]
        assert described.get("x-levels", []) == list(column.levels)
        assert described.get("x-unit", "") == column.unit


def test_the_json_schema_has_the_ranges() -> None:
    for column in NUMBERS:
        described = FEATURES_SCHEMA["properties"][column.name]
        assert described["anyOf"][0] == {"type": "integer", "minimum": column.low, "maximum": column.high}
        assert described["x-seen-range"] == [column.seen_low, column.seen_high]
    assert {column.kind for column in NUMBERS} == {Kind.CODE, Kind.COUNT}


def test_no_field_is_required() -> None:
    assert "required" not in FEATURES_SCHEMA
