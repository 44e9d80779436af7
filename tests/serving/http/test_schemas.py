"""What a request may hold: the schema's columns, their ranges, nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from documented import FULL_BODY, PARTIAL_BODY
from readmission.schema import BY_NAME, COLUMN_NAMES, RECORD_COLUMNS, Column, Kind
from readmission.serving.http.schemas import EXAMPLE, PARTIAL_EXAMPLE, TEXT_LIMIT, Features, PredictRequest

NUMBERS = [column for column in RECORD_COLUMNS if column.is_number]
TEXTS = [column for column in RECORD_COLUMNS if not column.is_number]
IDS = {"ids": lambda column: column.name}


def raw(**features: Any) -> dict[str, Any]:
    return {name: value for name, value in Features.model_validate(features).raw().items() if value is not None}


def refused(**features: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Features.model_validate(features)
    (error,) = caught.value.errors()
    assert error["loc"] == tuple(features)
    return str(error["msg"])


def test_the_examples_are_the_documented_ones() -> None:
    assert json.loads(FULL_BODY) == EXAMPLE
    assert list(json.loads(FULL_BODY)["features"]) == list(EXAMPLE["features"])
    assert json.loads(PARTIAL_BODY) == PARTIAL_EXAMPLE


def test_every_column_of_the_schema_is_a_field_and_nothing_else() -> None:
    names = [field.alias or name for name, field in Features.model_fields.items()]
    assert sorted(names) == sorted(COLUMN_NAMES)


def test_the_raw_record_has_the_sources_names_only() -> None:
    assert list(Features.model_validate({}).raw()) == [column.name for column in RECORD_COLUMNS]


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
    longest = "x" * TEXT_LIMIT
    assert raw(**{column.name: longest}) == {column.name: longest}
    for value in (longest + "x", 5, 1.5, True, ["x"], {"x": "y"}):
        assert refused(**{column.name: value}) == f"must be text of up to {TEXT_LIMIT} characters or null"


@given(st.text(max_size=TEXT_LIMIT))
def test_any_short_text_is_a_level(text: str) -> None:
    assert raw(race=text) == {"race": text}


@pytest.mark.parametrize("name", ["encounter_id", "patient_nbr", "readmitted"])
@pytest.mark.parametrize("value", [7, "<30", None, {"a": [1]}])
def test_identifiers_and_outcome_are_ignored(name: str, value: object) -> None:
    assert raw(**{name: value, "race": "Asian"}) == {"race": "Asian"}


@pytest.mark.parametrize("name", ["Race", "glyburide_metformin", "blood_type", "", "features"])
def test_an_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Features.model_validate({name: "No"})


def test_the_json_schema_describes_every_column() -> None:
    properties = PredictRequest.model_json_schema()["$defs"]["Features"]["properties"]
    for column in RECORD_COLUMNS:
        described = properties[column.name]
        assert described["description"] == column.description
        assert described["x-kind"] == column.kind
        assert described["examples"] == [EXAMPLE["features"][column.name]]
        assert described.get("x-levels", []) == list(column.levels)
        assert described.get("x-unit", "") == column.unit


def test_the_json_schema_has_the_ranges() -> None:
    properties = PredictRequest.model_json_schema()["$defs"]["Features"]["properties"]
    for column in NUMBERS:
        number = properties[column.name]["anyOf"][0]
        assert number == {"type": "integer", "minimum": column.low, "maximum": column.high}
        assert properties[column.name]["x-seen-range"] == [column.seen_low, column.seen_high]
    assert {column.kind for column in NUMBERS} == {Kind.CODE, Kind.COUNT}


def test_no_field_is_required() -> None:
    assert "required" not in PredictRequest.model_json_schema()["$defs"]["Features"]
    assert BY_NAME.keys() == PredictRequest.model_json_schema()["$defs"]["Features"]["properties"].keys()
