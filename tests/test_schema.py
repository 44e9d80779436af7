import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from readmission import schema
from readmission.dataset.csvfile import open_batches
from readmission.schema import COLUMNS, LABELS, MISSING, Column, Kind

CATEGORIES = [column for column in COLUMNS if column.kind is Kind.CATEGORY]
NUMBERS = [column for column in COLUMNS if column.is_number]
COUNTS = [column for column in COLUMNS if column.kind is Kind.COUNT]


def by_name(columns: list[Column]) -> Callable[..., pytest.MarkDecorator]:
    return pytest.mark.parametrize("column", columns, ids=lambda column: column.name)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def real_columns(real_csv: Path) -> pa.Table:
    return pa.Table.from_batches(open_batches(real_csv))


def seen(table: pa.Table, column: Column) -> set[str]:
    return set(pc.unique(table[column.name]).to_pylist()) - {MISSING}


def test_fifty_columns() -> None:
    assert len(COLUMNS) == len(schema.BY_NAME) == 50
    assert list(schema.BY_NAME) == list(schema.COLUMN_NAMES)


def test_columns_are_those_of_the_real_header_in_its_order(real_csv: Path) -> None:
    with real_csv.open(newline="") as file:
        assert tuple(next(csv.reader(file))) == schema.COLUMN_NAMES


def test_the_real_file_is_the_published_one(real_csv: Path) -> None:
    with real_csv.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == schema.CSV_SHA256


@by_name([column for column in CATEGORIES if column.name in schema.MEDICATIONS])
def test_every_dose_of_the_real_file_is_known(column: Column, real_columns: pa.Table) -> None:
    assert seen(real_columns, column) <= set(column.levels)  # some were never changed, two never prescribed


@by_name([column for column in CATEGORIES if column.name not in schema.MEDICATIONS])
def test_the_vocabulary_of_a_category_is_what_the_real_file_holds(column: Column, real_columns: pa.Table) -> None:
    assert seen(real_columns, column) == set(column.levels)


@by_name([column for column in COLUMNS if column.kind is Kind.CODE])
def test_every_code_of_the_real_file_is_known(column: Column, real_columns: pa.Table) -> None:
    assert seen(real_columns, column) <= set(column.levels)


@by_name(NUMBERS)
def test_every_number_of_the_real_file_is_in_the_seen_range(column: Column, real_columns: pa.Table) -> None:
    numbers = [int(text) for text in seen(real_columns, column)]
    assert column.seen_low <= min(numbers)
    assert max(numbers) <= column.seen_high


@by_name(COUNTS)
def test_the_seen_range_of_a_count_is_no_wider_than_the_real_file(column: Column, real_columns: pa.Table) -> None:
    numbers = [int(text) for text in seen(real_columns, column)]
    assert (min(numbers), max(numbers)) == (column.seen_low, column.seen_high)


def test_the_labels_are_those_of_the_real_file(real_columns: pa.Table) -> None:
    assert seen(real_columns, schema.BY_NAME[schema.LABEL_COLUMN]) == set(LABELS)
    assert LABELS == ("NO", ">30", "<30")


@by_name(NUMBERS)
def test_what_was_seen_is_possible(column: Column) -> None:
    assert column.low <= column.seen_low < column.seen_high <= column.high


@by_name(list(COLUMNS))
def test_a_column_is_described_and_its_example_is_possible(column: Column) -> None:
    assert column.description
    if column.example != MISSING and column.levels:
        assert column.example in column.levels
    if column.is_number:
        assert column.seen_low <= int(column.example) <= column.seen_high


@by_name(list(COLUMNS))
def test_levels_are_unique_and_none_is_the_mark_of_missing(column: Column) -> None:
    assert len(set(column.levels)) == len(column.levels)
    assert MISSING not in column.levels


def test_kinds() -> None:
    kinds = {kind: sum(column.kind is kind for column in COLUMNS) for kind in Kind}
    assert kinds == {
        Kind.IDENTIFIER: 2,
        Kind.CATEGORY: 33,
        Kind.CODE: 3,
        Kind.COUNT: 8,
        Kind.DIAGNOSIS: 3,
        Kind.LABEL: 1,
    }


def test_a_record_is_all_but_identifiers_and_outcome() -> None:
    names = [column.name for column in schema.RECORD_COLUMNS]
    left_out = {*schema.IDENTIFIERS, schema.LABEL_COLUMN}
    assert names == [name for name in schema.COLUMN_NAMES if name not in left_out]
    assert len(names) == 47


def test_medications() -> None:
    assert len(schema.MEDICATIONS) == 23
    assert [column.levels for column in COLUMNS if column.name in schema.MEDICATIONS] == [
        ("No", "Steady", "Up", "Down")
    ] * 23


def test_not_measured_is_a_level() -> None:
    assert all("None" in schema.BY_NAME[name].levels for name in ("max_glu_serum", "A1Cresult"))
