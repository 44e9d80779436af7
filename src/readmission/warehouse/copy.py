"""Load into and read from PostgreSQL with COPY, as CSV that Arrow writes and parses.

That is an order of magnitude faster than rows of Python objects.
"""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import Connection, sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

BLOCK_BYTES = 8 << 20
"""Bytes that Arrow parses at once (or slightly more); limits the memory of a streamed read."""

WRITE_BYTES = 1 << 20
"""Bytes per message to the server; larger messages are copied once more."""


def copy_in(
    connection: Connection[TupleRow],
    table: sql.Composable,
    columns: Sequence[str],
    blocks: Iterable[bytes | memoryview],
) -> int:
    """Load CSV bytes into a table.

    Args:
        connection: an open transaction.
        table: quoted name; must have been created in this transaction, as COPY FREEZE requires (with
            ``wal_level=minimal`` the server then writes no write-ahead log).
        columns: names, in the order of the CSV.
        blocks: whole CSV lines, no header; an empty unquoted field is NULL.

    Returns:
        number of rows loaded.
    """
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, FREEZE)").format(table, names)
    with connection.cursor() as cursor:
        with cursor.copy(command) as copy:
            for block in blocks:
                for start in range(0, len(block), WRITE_BYTES):
                    copy.write(block[start : start + WRITE_BYTES])
        return cursor.rowcount


def to_csv(table: pa.Table | pa.RecordBatch) -> memoryview:
    """Write Arrow columns as CSV lines without header; null becomes the empty field."""
    sink = pa.BufferOutputStream()
    pacsv.write_csv(_plain(table), sink, pacsv.WriteOptions(include_header=False, quoting_style="needed"))
    return memoryview(sink.getvalue())


def _plain(table: pa.Table | pa.RecordBatch) -> pa.Table:
    """Decode dictionary columns, which Arrow's CSV writer does not support."""
    whole = table if isinstance(table, pa.Table) else pa.Table.from_batches([table])
    fields = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in whole.schema
    ]
    return whole.cast(pa.schema(fields))


def copy_out(
    connection: Connection[TupleRow], query: sql.Composable, types: dict[str, pa.DataType]
) -> Iterator[pa.Table]:
    """Stream the rows of a query as Arrow.

    Args:
        connection: an open connection.
        query: a SELECT whose columns are those of ``types``, in their order.
        types: column name to Arrow type; NULL becomes null.

    Yields:
        tables of some ten thousand rows, in the order of the query; nothing if there are no rows.
    """
    for block in _blocks(connection, query):
        yield pacsv.read_csv(pa.BufferReader(block), *_options(types))


def read_table(connection: Connection[TupleRow], query: sql.Composable, types: dict[str, pa.DataType]) -> pa.Table:
    """Read the rows of a query into one Arrow table; see ``copy_out``."""
    empty = pa.schema(list(types.items())).empty_table()
    return pa.concat_tables([empty, *copy_out(connection, query, types)])


def _options(types: dict[str, pa.DataType]) -> tuple[pacsv.ReadOptions, pacsv.ParseOptions, pacsv.ConvertOptions]:
    read = pacsv.ReadOptions(column_names=list(types), use_threads=False)
    convert = pacsv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    return read, pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False), convert


def _blocks(connection: Connection[TupleRow], query: sql.Composable) -> Iterator[bytes]:
    """Join the server's messages, one per row, into blocks of about BLOCK_BYTES."""
    rows: list[memoryview | bytes] = []
    size = 0
    for row in _messages(connection, query):
        rows.append(row)
        size += len(row)
        if size >= BLOCK_BYTES:
            yield b"".join(rows)
            rows, size = [], 0
    if rows:
        yield b"".join(rows)


def _messages(connection: Connection[TupleRow], query: sql.Composable) -> Iterator[memoryview | bytes]:
    """Run a COPY and yield its messages directly from libpq.

    ``Cursor.copy`` waits in Python for each message, which takes four fifths of the time of reading the real file.
    """
    command = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)
    server = connection.pgconn
    _expect(server.exec_(command.as_bytes(connection)), ExecStatus.COPY_OUT)
    while True:
        size, row = server.get_copy_data(0)
        if size < 0:
            break
        yield row
    # All results must be read, also after an error, before the connection accepts another command.
    for result in list(iter(server.get_result, None)):
        _expect(result, ExecStatus.COMMAND_OK)


def _expect(result: PGresult, status: ExecStatus) -> None:
    if result.status != status:
        raise error_from_result(result)


PAGES = 512
"""Pages of a table (8 KiB each) that ``read_pages`` asks for at once."""


def read_pages(
    connection: Connection[TupleRow], table: sql.Composable, types: dict[str, pa.DataType]
) -> Iterator[pa.Table]:
    """Stream a table as Arrow, in no particular order; for values that need no quoting.

    The server joins the rows of PAGES pages into one text. That is a hundred times fewer messages than with COPY, so
    that two threads can read in parallel instead of waiting for Python's global lock.

    Args:
        connection: an open connection.
        table: quoted name of a table without NULL, whose values hold no comma, quote or line end.
        types: column name to Arrow type.

    Yields:
        tables of some thousand rows.
    """
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in types)
    row = connection.execute(
        sql.SQL("SELECT pg_relation_size({}::regclass) / 8192").format(_as_text(table, connection))
    ).fetchone()
    query = sql.SQL(
        "SELECT string_agg(concat_ws(',', {}), E'\\n') FROM {} WHERE ctid >= %s::tid AND ctid < %s::tid"
    ).format(columns, table)
    for first in range(0, row[0] if row else 0, PAGES):
        cursor = connection.cursor(binary=True)
        found = cursor.execute(query, [f"({first},0)", f"({first + PAGES},0)"]).fetchone()
        if found and found[0]:
            yield pacsv.read_csv(pa.BufferReader(found[0].encode()), *_options(types))


def _as_text(table: sql.Composable, connection: Connection[TupleRow]) -> sql.Literal:
    """A quoted name as a text literal, for functions such as ``regclass``."""
    return sql.Literal(table.as_string(connection))
