from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from readmission.services import Services
from readmission.warehouse import copy as copy_module
from readmission.warehouse.connection import connect
from readmission.warehouse.copy import copy_in, copy_out, read_table, to_csv

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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        assert pa.Table.from_batches(batches).to_pylist() == table.to_pylist()


def test_reading_may_stop_early(connection: Connection[TupleRow]) -> None:
    with connection.transaction(force_rollback=True):
        load(connection, arrow([{"words": "x" * 100}] * 50_000))
        stream = copy_out(connection, QUERY, TYPES)
        first = next(stream)
        stream.close()
        assert 0 < first.num_rows < 50_000


def test_rows_arrive_frozen_so_the_table_must_be_new(connection: Connection[TupleRow]) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState), connection.transaction():
        connection.execute("CREATE TABLE copied (number bigint)")
        with connection.transaction():
            copy_in(connection, TABLE, ["number"], [b"1\n"])


@pytest.mark.parametrize("broken", [b"1\n", b"1,2,3,4,5\n", b"one,2,a,b\n", b"1,40000,a,b\n"])
def test_a_broken_line_is_refused(connection: Connection[TupleRow], broken: bytes) -> None:
    with pytest.raises(psycopg.DataError), connection.transaction():
        create(connection)
        copy_in(connection, TABLE, list(TYPES), [broken])


def test_dictionaries_are_written_as_words() -> None:
    assert (
        bytes(to_csv(arrow([{"level": "a", "small": 3}, {"level": None}]).select(["level", "small"]))) == b'"a",3\n,\n'
    )
