from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import Connection, sql
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.services import Services
from readmission.warehouse import copy as copy_module
from readmission.warehouse.connection import connect
from readmission.warehouse.copy import copy_in, copy_out, read_pages, read_table, to_csv

TYPES = {
    "number": pa.int64(),
    "small": pa.int16(),
    "words": pa.string(),
    "level": pa.dictionary(pa.int32(), pa.string()),
}
TABLE = sql.Identifier("copied")
QUERY = sql.SQL("SELECT number, small, words, level FROM copied ORDER BY number")
ODD_TEXTS = (
    "",
    " ",
    ",",
    '"',
    '""',
    "a,b",
    'say "no"',
    "None",
    "NULL",
    "\\N",
    "\\.",
    "?",
    "ß",
    "🙂",
    "\ta",
    "'",
    "\n",
    "a\r\nb",
    "\r",
)

text = st.one_of(
    st.sampled_from(ODD_TEXTS), st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8)
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "small": st.none() | st.integers(-(2**15), 2**15 - 1),
            "words": st.none() | text,
            "level": st.none() | st.sampled_from(("", "a", "b,c", "None")),
        }
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def connection(databases: Services) -> Iterator[Connection[TupleRow]]:
    with connect(databases.raw_url) as connection:
        yield connection


def arrow(some: list[dict[str, Any]]) -> pa.Table:
    numbered = [{"number": number, **row} for number, row in enumerate(some)]
    return pa.Table.from_pylist(numbered, pa.schema(list(TYPES.items())))


def create(connection: Connection[TupleRow]) -> None:
    connection.execute("CREATE TABLE copied (number bigint, small smallint, words text, level text)")


def load(connection: Connection[TupleRow], *tables: pa.Table) -> int:
    create(connection)
    return copy_in(connection, TABLE, list(TYPES), [to_csv(table) for table in tables])


@settings(max_examples=60)
@given(rows)
def test_what_goes_in_comes_out(connection: Connection[TupleRow], some: list[dict[str, Any]]) -> None:
    table = arrow(some)
    with connection.transaction(force_rollback=True):
        assert load(connection, table) == len(some)
        stored = connection.execute(QUERY).fetchall()
        assert [dict(zip(TYPES, row, strict=True)) for row in stored] == table.to_pylist()
        assert read_table(connection, QUERY, TYPES).to_pylist() == table.to_pylist()


def test_null_and_the_empty_text_stay_apart(connection: Connection[TupleRow]) -> None:
    with connection.transaction(force_rollback=True):
        load(connection, arrow([{"words": None}, {"words": ""}]))
        assert read_table(connection, QUERY, TYPES)["words"].to_pylist() == [None, ""]


def test_no_rows(connection: Connection[TupleRow]) -> None:
    with connection.transaction(force_rollback=True):
        assert load(connection, arrow([])) == 0
        assert list(copy_out(connection, QUERY, TYPES)) == []
        assert read_table(connection, QUERY, TYPES).schema == pa.schema(list(TYPES.items()))


def test_no_blocks(connection: Connection[TupleRow]) -> None:
    with connection.transaction(force_rollback=True):
        assert load(connection) == 0


def test_a_single_column_of_null(connection: Connection[TupleRow]) -> None:
    query = sql.SQL("SELECT words FROM copied ORDER BY number")
    with connection.transaction(force_rollback=True):
        load(connection, arrow([{"words": None}, {"words": "a"}, {"words": None}]))
        assert read_table(connection, query, {"words": pa.string()})["words"].to_pylist() == [None, "a", None]


def test_several_blocks_and_large_ones(connection: Connection[TupleRow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_module, "WRITE_BYTES", 1_000)
    some = [{"words": "x" * (number % 90)} for number in range(3_000)]
    table = arrow(some)
    with connection.transaction(force_rollback=True):
        assert load(connection, table.slice(0, 10), table.slice(10, 0), table.slice(10)) == 3_000
        assert read_table(connection, QUERY, TYPES).to_pylist() == table.to_pylist()


@pytest.mark.parametrize("text", ["x" * 30, 'line\nline\r\n,"', "ß🙂" * 9], ids=["plain", "newlines", "unicode"])
def test_rows_are_read_block_by_block(
    connection: Connection[TupleRow], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    table = arrow([{"words": f"{text}{number}", "level": text if number % 3 else None} for number in range(2_000)])
    with connection.transaction(force_rollback=True):
        load(connection, table)
        monkeypatch.setattr(copy_module, "BLOCK_BYTES", 1_009)
        batches = list(copy_out(connection, QUERY, TYPES))
        assert len(batches) > 10
        assert pa.concat_tables(batches).to_pylist() == table.to_pylist()


def read_and_fail(url: SecretStr) -> None:
    with connect(url) as own:
        for _ in copy_out(own, sql.SQL("SELECT number FROM generate_series(1, 100000) number"), {"number": pa.int64()}):
            raise RuntimeError("stop")


def test_an_error_while_reading_is_not_hidden(databases: Services) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        read_and_fail(databases.raw_url)


def load_into_old_table(connection: Connection[TupleRow]) -> None:
    with connection.transaction(force_rollback=True):
        create(connection)
        with connection.transaction():
            copy_in(connection, TABLE, ["number"], [b"1\n"])


def test_rows_arrive_frozen_so_the_table_must_be_new(connection: Connection[TupleRow]) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        load_into_old_table(connection)


def load_bytes(connection: Connection[TupleRow], content: bytes) -> None:
    with connection.transaction(force_rollback=True):
        create(connection)
        copy_in(connection, TABLE, list(TYPES), [content])


@pytest.mark.parametrize("broken", [b"1\n", b"1,2,3,4,5\n", b"one,2,a,b\n", b"1,40000,a,b\n"])
def test_a_broken_line_is_refused(connection: Connection[TupleRow], broken: bytes) -> None:
    with pytest.raises(psycopg.DataError):
        load_bytes(connection, broken)


def test_a_query_that_fails_says_why(connection: Connection[TupleRow]) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable, match="no_such_table"), connection.transaction():
        read_table(connection, sql.SQL("SELECT number FROM no_such_table"), {"number": pa.int64()})


def test_a_query_that_fails_under_way_says_why(connection: Connection[TupleRow]) -> None:
    query = sql.SQL("SELECT 1 / (5000 - number) FROM generate_series(1, 9000) number")
    with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
        read_table(connection, query, {"number": pa.int64()})


PAGED = {"number": pa.int64(), "words": pa.dictionary(pa.int32(), pa.string())}
plain_word = st.text(st.characters(exclude_characters=',"\r\n\0', exclude_categories=("Cs",)), min_size=1, max_size=8)


@settings(max_examples=25)
@given(st.lists(plain_word, max_size=10))
def test_pages_give_every_row_once(connection: Connection[TupleRow], words: list[str]) -> None:
    table = arrow([{"words": word, "level": "a"} for word in words])
    with connection.transaction(force_rollback=True):
        load(connection, table)
        rows = [row for block in read_pages(connection, TABLE, PAGED) for row in block.to_pylist()]
        assert sorted(rows, key=lambda row: row["number"]) == table.select(list(PAGED)).to_pylist()


def test_many_pages(connection: Connection[TupleRow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_module, "PAGES", 3)
    with connection.transaction(force_rollback=True):
        load(connection, arrow([{"words": "x" * 200, "level": "a"}] * 3_000))
        blocks = list(read_pages(connection, TABLE, PAGED))
        assert len(blocks) > 10
        numbers = [number for block in blocks for number in block["number"].to_pylist()]
        assert sorted(numbers) == list(range(3_000))


def test_dictionaries_are_written_as_words() -> None:
    assert (
        bytes(to_csv(arrow([{"level": "a", "small": 3}, {"level": None}]).select(["level", "small"]))) == b'"a",3\n,\n'
    )
