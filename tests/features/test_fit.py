import random

import numpy as np
import pyarrow as pa
import pytest
from feature_records import Record, example_record, raw_columns, records
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.features.columns import clean_columns
from readmission.features.encoder import CategoryFeature, Encoder, NumberFeature
from readmission.features.fit import MIN_COUNT, encode_columns, fit_encoder
from readmission.features.rules import FEATURE_TYPES
from readmission.schema import RECORD_COLUMNS

min_counts = st.integers(1, 5)


def table(**columns: list[str | int | None]) -> pa.Table:
    """Clean columns; what is not given is missing."""
    rows = len(next(iter(columns.values())))
    filled = {name: columns.get(name, [None] * rows) for name in FEATURE_TYPES}
    arrow = {"text": pa.string(), "integer": pa.int32()}
    return pa.table({name: pa.array(values, arrow[FEATURE_TYPES[name]]) for name, values in filled.items()})


def only(clean: pa.Table, min_count: int = MIN_COUNT) -> NumberFeature | CategoryFeature:
    (feature,) = fit_encoder(clean, min_count).features
    return feature


@settings(max_examples=50)
@given(records(min_size=1), records(min_size=1), min_counts)
def test_columns_and_records_are_encoded_alike(train: list[Record], other: list[Record], min_count: int) -> None:
    encoder = fit_encoder(clean_columns(raw_columns(train)), min_count)
    for rows in (train, other):
        clean = clean_columns(raw_columns(rows))
        one_by_one = [encoder.encode_record(row) for row in clean.to_pylist()]
        assert encode_columns(encoder, clean).tolist() == one_by_one


@settings(max_examples=25)
@given(records(min_size=1), records(), min_counts)
def test_the_matrix_is_float32_whole_and_complete(train: list[Record], other: list[Record], min_count: int) -> None:
    encoder = fit_encoder(clean_columns(raw_columns(train)), min_count)
    matrix = encode_columns(encoder, clean_columns(raw_columns(other)))
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(other), len(encoder.features))
    assert matrix.flags.c_contiguous
    assert np.isfinite(matrix).all()
    np.testing.assert_array_equal(matrix, np.round(matrix))


@settings(max_examples=25)
@given(records(min_size=2), st.data())
def test_only_the_training_rows_count(rows: list[Record], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(rows) - 1))
    min_count = data.draw(min_counts)
    # The slice still carries the words of the other rows in its dictionaries.
    together = clean_columns(raw_columns(rows)).slice(0, cut)
    alone = clean_columns(raw_columns(rows[:cut]))
    assert fit_encoder(together, min_count) == fit_encoder(alone, min_count)


@settings(max_examples=25)
@given(records(min_size=2), st.randoms(use_true_random=False), min_counts)
def test_the_order_of_rows_does_not_count(rows: list[Record], draw: random.Random, min_count: int) -> None:
    shuffled = draw.sample(rows, len(rows))
    first = fit_encoder(clean_columns(raw_columns(rows)), min_count)
    assert fit_encoder(clean_columns(raw_columns(shuffled)), min_count) == first


@settings(max_examples=12)
@given(records(min_size=2), st.data(), min_counts)
def test_chunks_and_plain_text_make_no_difference(rows: list[Record], data: st.DataObject, min_count: int) -> None:
    clean = clean_columns(raw_columns(rows))
    cut = data.draw(st.integers(0, len(rows)))
    plain = table(**{name: clean[name].to_pylist() for name in clean.column_names})
    chunked = pa.concat_tables([plain.slice(0, cut), plain.slice(cut)])
    encoder = fit_encoder(clean, min_count)
    assert fit_encoder(chunked, min_count) == encoder
    assert encode_columns(encoder, chunked).tolist() == encode_columns(encoder, clean).tolist()


@settings(max_examples=12)
@given(records(min_size=1), min_counts)
def test_features_keep_the_order_of_the_clean_tables(rows: list[Record], min_count: int) -> None:
    names = fit_encoder(clean_columns(raw_columns(rows)), min_count).names
    assert list(names) == [name for name in FEATURE_TYPES if name in names]


def test_levels_are_ordered_by_frequency_then_by_name() -> None:
    feature = only(table(race=["b"] * 30 + ["a"] * 30 + ["c"] * 40 + [None] * 25))
    assert feature == CategoryFeature(name="race", levels=("c", "a", "b", None))


def test_missing_and_the_word_none_in_equal_number_have_one_order() -> None:
    values = ["None"] * 30 + [None] * 30
    assert only(table(race=values)) == only(table(race=values[::-1]))


@pytest.mark.parametrize(("count", "levels"), [(MIN_COUNT, ("a", "b", "c")), (MIN_COUNT - 1, ("a", "b"))])
def test_a_rare_level_is_treated_as_unseen(count: int, levels: tuple[str, ...]) -> None:
    train = table(race=["a"] * 60 + ["b"] * 40 + ["c"] * count)
    assert only(train) == CategoryFeature(name="race", levels=levels)
    encoder = fit_encoder(train)
    assert encode_columns(encoder, table(race=["a", "c", "new", None])).tolist() == [
        [0.0],
        [2.0],
        [len(levels)],
        [len(levels)],
    ]


@pytest.mark.parametrize("rare", [1, MIN_COUNT - 1])
def test_a_column_that_hardly_varies_is_left_out(rare: int) -> None:
    assert fit_encoder(table(race=["a"] * 200 + ["b"] * rare, age=[75] * 200 + [5] * rare)) == Encoder(features=())


def test_a_column_that_varies_enough_is_kept() -> None:
    train = table(race=["a"] * 200 + ["b"] * MIN_COUNT, age=[75] * 200 + [5] * MIN_COUNT)
    assert fit_encoder(train).names == ("race", "age")


def test_a_missing_number_becomes_the_lower_median_of_training() -> None:
    train = table(age=[5, 15, 25, 95] * 20 + [None] * 20)
    assert only(train) == NumberFeature(name="age", fill=15.0)
    assert encode_columns(fit_encoder(train), table(age=[None, 45])).tolist() == [[15.0], [45.0]]


def test_constant_columns_of_the_source_are_dropped() -> None:
    rows = [{**example_record(), "race": ["Asian", "Other"][number % 2]} for number in range(100)]
    assert fit_encoder(clean_columns(raw_columns(rows))).names == ("race",)


def test_no_rows_to_encode() -> None:
    train = table(race=["a", "b"] * 50, age=[5, 15] * 50)
    assert encode_columns(fit_encoder(train), train.slice(0, 0)).shape == (0, 2)


def test_identifiers_are_never_features() -> None:
    assert not {"encounter_id", "patient_nbr", "readmitted", "row_id", "batch_id"} & set(FEATURE_TYPES)
    assert len(FEATURE_TYPES) >= len(RECORD_COLUMNS)
