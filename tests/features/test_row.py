"""Encoding one record from cached values gives what the rules and the encoder give, for any record."""

import numpy as np
import pytest
from feature_records import Record, example_record, raw_columns, record
from hypothesis import given, settings

from readmission.features import row
from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder
from readmission.features.fit import fit_encoder
from readmission.features.rates import with_rates
from readmission.features.record import RawValue, clean_record
from readmission.features.row import RowEncoder
from readmission.schema import RECORD_COLUMNS


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Of records that differ in every column, so that every feature is kept."""
    draw = np.random.default_rng(3)
    records: list[Record] = []
    for _ in range(400):
        chosen = {column.name: str(draw.choice(column.levels)) for column in RECORD_COLUMNS if column.levels}
        counts = {c.name: int(draw.integers(c.seen_low, c.seen_high + 1)) for c in RECORD_COLUMNS if c.unit}
        diagnoses = {name: str(draw.choice(["250.83", "428", "V45", "276", "401"])) for name in ("diag_1", "diag_2")}
        records.append({**example_record(), **chosen, **counts, **diagnoses})
    clean = clean_columns(raw_columns(records))
    return with_rates(fit_encoder(clean, min_count=2), clean, draw.integers(0, 3, len(records)).astype(np.int8))


def expected(encoder: Encoder, raw: Record) -> np.ndarray:
    return np.array([encoder.encode_record(clean_record(raw))], np.float32)


def in_order(raw: Record) -> list[RawValue]:
    return [raw.get(column.name) for column in RECORD_COLUMNS]


@settings(max_examples=200)
@given(raw=record)
def test_encode_equals_the_encoding_of_the_clean_record(encoder: Encoder, raw: Record) -> None:
    np.testing.assert_array_equal(RowEncoder(encoder).encode(raw), expected(encoder, raw))


@settings(max_examples=200)
@given(raw=record)
def test_cached_values_give_the_same(encoder: Encoder, raw: Record) -> None:
    rows = RowEncoder(encoder)
    assert rows.encode_known(in_order(raw)) is None
    for column in RECORD_COLUMNS:
        rows.learn(column.name, raw.get(column.name))
        assert rows.knows(column.name, raw.get(column.name))
    found = rows.encode_known(in_order(raw))
    assert found is not None
    assert row.stack([found]).dtype == np.float32
    np.testing.assert_array_equal(row.stack([found]), expected(encoder, raw))


def test_the_fixture_has_every_kind_of_feature(encoder: Encoder) -> None:
    assert {feature.kind for feature in encoder.features} == {"number", "category", "rate"}
    assert {"prior_visits", "medications_given", "medications_per_10_days", "heart_failure"} <= set(encoder.names)


def test_thousands_of_values_can_be_cached(encoder: Encoder) -> None:
    rows = RowEncoder(encoder)
    for number in range(5_000):
        rows.learn("diag_1", f"{number}")
    for column in RECORD_COLUMNS:
        rows.learn(column.name, None)
    for value in ("0", "428", "4999"):
        raw: Record = {"diag_1": value}
        found = rows.encode_known(in_order(raw))
        assert found is not None
        np.testing.assert_array_equal(row.stack([found]), expected(encoder, raw))


def test_rows_are_stacked(encoder: Encoder) -> None:
    rows = RowEncoder(encoder)
    raws: list[Record] = [{"time_in_hospital": days} for days in (1, 9)]
    single = [rows.encode(raw)[0] for raw in raws]
    np.testing.assert_array_equal(row.stack([one.tolist() for one in single]), np.stack(single))


def test_the_cache_does_not_grow_beyond_its_limit(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row, "MOST_VALUES", 10)
    rows = RowEncoder(encoder)
    for number in range(50):
        rows.learn("medical_specialty", f"specialty {number}")
    known = [rows.knows("medical_specialty", f"specialty {number}") for number in (0, 9, 10, 49)]
    assert known == [True, True, False, False]


def test_a_count_that_is_not_a_number_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        RowEncoder(encoder).encode({"num_medications": "many"})


def test_a_number_beyond_float32_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="float32"):
        RowEncoder(encoder).encode({"num_medications": 10**39})
