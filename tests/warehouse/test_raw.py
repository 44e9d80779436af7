from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from building import data_lines, draw_assignment, fetch, relations, store
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from readmission.dataset import lines as lines_module
from readmission.schema import COLUMN_NAMES, COLUMNS
from readmission.services import Services
from readmission.warehouse.builds import build_schema, start_build
from readmission.warehouse.connection import connect
from readmission.warehouse.raw import (
    Assignment,
    create_views,
    read_placement,
    store_batches,
    store_holdout,
    write_assignment,
)

EXECUTION = "one"
SCHEMA = build_schema(EXECUTION)


def dump(services: Services, *tables: str) -> str:
    """The rows of tables as CSV, in the order of the file, by the server's own writer."""
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in COLUMN_NAMES)
    rows = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT row_id, {} FROM {}").format(columns, sql.Identifier(SCHEMA, table)) for table in tables
    )
    query = sql.SQL("COPY (SELECT {} FROM ({}) AS every ORDER BY row_id) TO STDOUT (FORMAT csv)").format(columns, rows)
    with psycopg.connect(services.raw_url.get_secret_value()) as connection, connection.cursor().copy(query) as copy:
        return b"".join(copy).decode()


def row_ids(services: Services, relation: str) -> list[int]:
    query = sql.SQL("SELECT row_id FROM {}").format(sql.Identifier(SCHEMA, relation))
    with psycopg.connect(services.raw_url.get_secret_value()) as connection:
        return sorted(row[0] for row in connection.execute(query))


def rows_where(chosen: np.ndarray) -> list[int]:
    return (np.flatnonzero(chosen) + 1).tolist()


def test_tables_give_back_the_real_file_byte_for_byte(warehouse: Services, real_csv: Path) -> None:
    assignment = draw_assignment(real_csv, 5)
    batches, holdout = store(warehouse, EXECUTION, real_csv, assignment)
    assert sum(batches) + sum(holdout) == 101_766
    stored = dump(warehouse, *(f"batch_{number}" for number in range(5)), "validation_raw", "test_raw")
    assert stored.encode() == real_csv.read_bytes().partition(b"\r\n")[2].replace(b"\r\n", b"\n")


@pytest.fixture
def stored(warehouse: Services, small_csv: Path) -> Assignment:
    assignment = draw_assignment(small_csv, 4)
    batches, holdout = store(warehouse, EXECUTION, small_csv, assignment)
    assert batches == np.bincount(assignment.batch_id[assignment.split == 0]).tolist()
    assert holdout == [int((assignment.split == 1).sum()), int((assignment.split == 2).sum())]
    return assignment


def test_each_table_holds_its_rows(warehouse: Services, stored: Assignment) -> None:
    for number in range(4):
        assert row_ids(warehouse, f"batch_{number}") == rows_where(stored.batch_id == number)
    assert row_ids(warehouse, "validation_raw") == rows_where(stored.split == 1)
    assert row_ids(warehouse, "test_raw") == rows_where(stored.split == 2)


def test_each_cumulative_view_holds_its_batches(warehouse: Services, stored: Assignment) -> None:
    for last in range(4):
        expected = rows_where((stored.batch_id >= 0) & (stored.batch_id <= last))
        assert row_ids(warehouse, f"train_cumulative_{last}") == expected
    assert row_ids(warehouse, "train_raw") == rows_where(stored.split == 0)


def test_views_show_the_values_of_the_file(warehouse: Services, stored: Assignment, small_csv: Path) -> None:
    training = [line for line, part in zip(data_lines(small_csv), stored.split, strict=True) if part == 0]
    assert dump(warehouse, "train_cumulative_3").splitlines() == dump(warehouse, "train_raw").splitlines() == training


def test_the_build_holds_nothing_else(warehouse: Services, stored: Assignment) -> None:
    names = [f"{kind}_{number}" for number in range(4) for kind in ("batch", "train_cumulative")]
    assert relations(warehouse.raw_url, SCHEMA) == {*names, "train_raw", "validation_raw", "test_raw", "assignment"}
    assert relations(warehouse.raw_url) == set()


def test_columns_carry_the_names_of_the_source_as_text(warehouse: Services, stored: Assignment) -> None:
    query = """
        SELECT column_name::text, data_type::text, is_nullable::text FROM information_schema.columns
        WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
    """
    expected = [("row_id", "bigint", "NO"), *((name, "text", "NO") for name in COLUMN_NAMES)]
    for table in ("batch_0", "batch_3", "validation_raw", "test_raw"):
        assert fetch(warehouse.raw_url, query, SCHEMA, table) == expected


def test_the_assignment_comes_back(warehouse: Services, stored: Assignment) -> None:
    with connect(warehouse.raw_url) as raw:
        again = read_placement(raw, SCHEMA)
    assert again.batches == stored.batches == 4
    for name in ("split", "batch_id"):
        np.testing.assert_array_equal(getattr(again, name), getattr(stored, name))
        assert getattr(again, name).dtype == getattr(stored, name).dtype


def test_the_assignment_is_readable_by_people(warehouse: Services, stored: Assignment) -> None:
    query = "SELECT row_id, encounter_id, part, batch_id FROM build_one.assignment ORDER BY row_id"
    parts = ("train", "validation", "test")
    expected = [
        (row, encounter, parts[part], batch if part == 0 else None)
        for row, (encounter, part, batch) in enumerate(
            zip(stored.encounter_id.tolist(), stored.split.tolist(), stored.batch_id.tolist(), strict=True), 1
        )
    ]
    assert fetch(warehouse.raw_url, query) == expected


def test_storing_again_replaces(warehouse: Services, stored: Assignment, small_csv: Path) -> None:
    store_batches(warehouse, EXECUTION, small_csv, stored)
    with connect(warehouse.raw_url) as raw:
        create_views(raw, EXECUTION, stored.batches)
    store_holdout(warehouse, EXECUTION, small_csv, stored)
    for number in range(4):
        assert row_ids(warehouse, f"batch_{number}") == rows_where(stored.batch_id == number)
    assert row_ids(warehouse, "train_cumulative_3") == rows_where(stored.split == 0)
    assert row_ids(warehouse, "validation_raw") == rows_where(stored.split == 1)


def test_a_file_that_cannot_be_stored_leaves_no_table(warehouse: Services, small_csv: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    lines = small_csv.read_bytes().splitlines(keepends=True)
    broken.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b",", b";")]))
    assignment = draw_assignment(small_csv, 2)
    with connect(warehouse.raw_url) as raw:
        start_build(raw, EXECUTION)
    with pytest.raises(psycopg.errors.BadCopyFileFormat):
        store_batches(warehouse, EXECUTION, broken, replace(assignment, batch_id=np.full_like(assignment.batch_id, 1)))
    assert relations(warehouse.raw_url, SCHEMA) == set()


def test_a_file_of_many_blocks(warehouse: Services, small_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 4_000)
    store(warehouse, EXECUTION, small_csv, draw_assignment(small_csv, 3))
    stored = dump(warehouse, "batch_0", "batch_1", "batch_2", "validation_raw", "test_raw")
    assert stored.splitlines() == data_lines(small_csv)


word = st.text(st.characters(exclude_characters=',"\r\n\0', exclude_categories=("Cs",)), min_size=1, max_size=12)


@settings(max_examples=15)
@given(st.lists(word, min_size=1, max_size=6))
def test_any_word_that_a_file_may_hold_is_stored_as_it_is(
    databases: Services, tmp_path: Path, words: list[str]
) -> None:
    example = [column.example for column in COLUMNS]
    lines = [",".join([str(number), "1", word, *example[3:]]) for number, word in enumerate(words)]
    path = tmp_path / "stays.csv"
    path.write_bytes("".join(f"{line}\r\n" for line in [",".join(COLUMN_NAMES), *lines]).encode())
    rows = len(words)
    assignment = Assignment(np.zeros(rows, np.int8), np.zeros(rows, np.int16), np.arange(rows))
    with connect(databases.raw_url) as raw:
        start_build(raw, EXECUTION)
    assert store_batches(databases, EXECUTION, path, assignment) == [rows]
    query = "SELECT race, encounter_id, readmitted FROM build_one.batch_0 ORDER BY row_id"
    assert fetch(databases.raw_url, query) == [(word, str(number), "NO") for number, word in enumerate(words)]


def test_an_assignment_without_training_rows(warehouse: Services) -> None:
    assignment = Assignment(np.array([1, 2], np.int8), np.array([-1, -1], np.int16), np.array([5, 7]))
    assert assignment.batches == 0
    with connect(warehouse.raw_url) as raw:
        start_build(raw, EXECUTION)
        write_assignment(raw, EXECUTION, assignment)
        assert read_placement(raw, SCHEMA).batch_id.tolist() == [-1, -1]
