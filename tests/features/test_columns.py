"""Columns against records: the executor of training and that of the API must agree on everything."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from feature_records import Record, example_record, raw_columns, records
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.dataset.csvfile import open_batches
from readmission.features.columns import ARROW_TYPES, clean_columns
from readmission.features.fit import encode_columns, fit_encoder
from readmission.features.record import clean_record
from readmission.features.rules import FEATURE_TYPES
from readmission.schema import LABEL_COLUMN, MISSING, PATIENT_NBR


def types(table: pa.Table) -> list[pa.DataType]:
    return [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in table.schema]


ROWS_AT_ONCE = 4_000


@settings(max_examples=60)
@given(records())
def test_columns_and_records_are_cleaned_alike(rows: list[Record]) -> None:
    assert clean_columns(raw_columns(rows)).to_pylist() == [clean_record(row) for row in rows]


@settings(max_examples=12)
@given(records(min_size=1))
def test_names_and_types(rows: list[Record]) -> None:
    cleaned = clean_columns(raw_columns(rows))
    assert cleaned.column_names == list(FEATURE_TYPES)
    assert types(cleaned) == [ARROW_TYPES[dtype] for dtype in FEATURE_TYPES.values()]


@settings(max_examples=12)
@given(records(min_size=2), st.data())
def test_chunks_and_dictionaries_make_no_difference(rows: list[Record], data: st.DataObject) -> None:
    raw = raw_columns(rows)
    cut = data.draw(st.integers(0, len(rows)))
    chunked = pa.concat_tables([raw.slice(0, cut), raw.slice(cut)])
    encoded = pa.concat_tables(
        [pa.table({name: raw[name].dictionary_encode() for name in raw.column_names}).slice(start, length)
         for start, length in ((0, cut), (cut, len(rows)))]
    )  # fmt: skip
    assert clean_columns(chunked).to_pylist() == clean_columns(encoded).to_pylist() == clean_columns(raw).to_pylist()


@settings(max_examples=12)
@given(records(min_size=2), st.data())
def test_a_row_is_cleaned_alone(rows: list[Record], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    alone = clean_columns(raw_columns(rows).slice(place, 1)).to_pylist()
    assert alone == [clean_columns(raw_columns(rows)).to_pylist()[place]]


def test_no_rows() -> None:
    cleaned = clean_columns(raw_columns([example_record()]).slice(0, 0))
    assert cleaned.num_rows == 0
    assert types(cleaned) == [ARROW_TYPES[dtype] for dtype in FEATURE_TYPES.values()]


def test_absent_columns_are_missing() -> None:
    raw = pa.table({"race": ["Caucasian", "?"]})
    assert clean_columns(raw).to_pylist() == [clean_record({"race": "Caucasian"}), clean_record({})]


def test_identifiers_and_outcome_are_left_out() -> None:
    raw = raw_columns([example_record()] * 2)
    more = raw.append_column(LABEL_COLUMN, pa.array(["NO", "<30"])).append_column(PATIENT_NBR, pa.array(["1", "2"]))
    assert clean_columns(more).equals(clean_columns(raw))


def test_words_that_become_one_share_a_level() -> None:
    codes = raw_columns([{**example_record(), "diag_1": code} for code in ("250.83", "250", "V45", "?", "V58")])
    column = clean_columns(codes)["diag_1_group"].combine_chunks()
    assert column.dictionary.to_pylist() == ["diabetes", "supplementary"]
    assert column.to_pylist() == ["diabetes", "diabetes", "supplementary", None, "supplementary"]


def test_a_broken_count_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        clean_columns(pa.table({"num_medications": ["12", "many"]}))


@pytest.fixture(scope="module")
def real_columns(real_csv: Path) -> pa.Table:
    return pa.Table.from_batches(open_batches(real_csv)).combine_chunks()


def test_both_executors_agree_on_every_row_of_the_real_file(real_csv: Path, real_columns: pa.Table) -> None:
    clean = clean_columns(real_columns)
    plain = clean.cast(pa.schema({name: ARROW_TYPES[dtype] for name, dtype in FEATURE_TYPES.items()}))
    encoder = fit_encoder(clean.slice(0, 70_000))
    matrix = encode_columns(encoder, clean)
    compared = 0
    with real_csv.open(newline="") as file:
        reader = csv.DictReader(file)
        while some := [clean_record(raw) for raw in itertools.islice(reader, ROWS_AT_ONCE)]:
            assert pa.Table.from_pylist(some, plain.schema).equals(plain.slice(compared, len(some)))
            # Compared in float64: equal only where the numbers are exact in float32.
            encoded = np.array([encoder.encode_record(record) for record in some])
            np.testing.assert_array_equal(matrix[compared : compared + len(some)], encoded)
            compared += len(some)
    assert compared == 101_766


def test_every_diagnosis_of_the_real_file_has_a_group(real_columns: pa.Table) -> None:
    clean = clean_columns(real_columns)
    for name in ("diag_1", "diag_2", "diag_3"):
        groups = clean[f"{name}_group"]
        assert "other" not in groups.unique().to_pylist()
        assert groups.null_count == pc.sum(pc.equal(real_columns[name], MISSING)).as_py() > 0
