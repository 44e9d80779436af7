import json
import struct

import pytest
from feature_records import Record, raw_columns, record, records
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from readmission.features.columns import clean_columns
from readmission.features.encoder import CategoryFeature, Encoder, NumberFeature
from readmission.features.fit import fit_encoder
from readmission.features.record import clean_record

SMALL = Encoder(
    features=(
        NumberFeature(name="age", fill=65.0),
        CategoryFeature(name="race", levels=("Caucasian", None, "Asian")),
        CategoryFeature(name="gender", levels=("Female", "Male")),
    )
)


def encode(**clean: str | int | None) -> list[float]:
    return SMALL.encode_record({"age": 75, "race": "Caucasian", "gender": "Female", **clean})


def is_float32(value: float) -> bool:
    return struct.unpack("f", struct.pack("f", value))[0] == value


def test_numbers_and_levels() -> None:
    assert encode(race="Asian", gender="Male") == [75.0, 2.0, 1.0]


def test_a_missing_number_is_filled() -> None:
    assert encode(age=None)[0] == 65.0


def test_missing_is_a_level_where_training_had_it() -> None:
    assert encode(race=None)[1] == 1.0


def test_what_training_did_not_know_follows_the_last_level() -> None:
    assert encode(race="Martian", gender=None)[1:] == [3.0, 2.0]


def test_the_word_none_is_not_missing() -> None:
    assert encode(race="None")[1] == 3.0


def test_names_follow_the_features() -> None:
    assert SMALL.names == ("age", "race", "gender")


def test_other_columns_do_not_matter() -> None:
    assert encode(weight=3, payer_code="MC") == encode()


def test_json_is_plain_data() -> None:
    written = json.loads(SMALL.model_dump_json())
    assert written["version"] == 1
    assert written["features"][1] == {"kind": "category", "name": "race", "levels": ["Caucasian", None, "Asian"]}


@settings(max_examples=20)
@given(records(min_size=1), record, st.integers(1, 4))
def test_json_round_trip(rows: list[Record], other: Record, min_count: int) -> None:
    encoder = fit_encoder(clean_columns(raw_columns(rows)), min_count)
    again = Encoder.model_validate_json(encoder.model_dump_json())
    assert again == encoder
    assert again.encode_record(clean_record(other)) == encoder.encode_record(clean_record(other))


@settings(max_examples=30)
@given(records(min_size=1), record, st.integers(1, 4))
def test_every_record_gives_whole_numbers_of_float32(rows: list[Record], other: Record, min_count: int) -> None:
    encoder = fit_encoder(clean_columns(raw_columns(rows)), min_count)
    encoded = encoder.encode_record(clean_record(other))
    assert len(encoded) == len(encoder.names)
    assert all(value.is_integer() and is_float32(value) for value in encoded)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"surprise": 1},
        {"features": [{"kind": "number", "name": "age"}]},
        {"features": [{"kind": "code", "name": "age", "fill": 1.0}]},
        {"features": [{"kind": "number", "name": "age", "fill": 1.0, "levels": ["a"]}]},
    ],
)
def test_an_unknown_form_is_refused(change: dict[str, object]) -> None:
    written = {**json.loads(SMALL.model_dump_json()), **change}
    with pytest.raises(ValidationError):
        Encoder.model_validate(written)


def test_an_encoder_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        SMALL.features = ()
