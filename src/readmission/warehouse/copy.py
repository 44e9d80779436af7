"""COPY in and COPY out: the fastest ways in and out of PostgreSQL, through Arrow.

Bytes travel as CSV. Arrow writes and parses it an order of magnitude faster than rows of Python objects.
"""

import io
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import Connection, Copy, sql
from psycopg.rows import TupleRow

BLOCK_BYTES = 8 << 20
"""Arrow parses this much at once; bounds the memory of a streamed read."""

WRITE_BYTES = 1 << 20
"""One message to the server; larger ones are copied once more on the way."""


def copy_in(
    connection: Connection[TupleRow],
    table: sql.Composable,
    columns: Sequence[str],
    blocks: Iterable[bytes | memoryview],
) -> int:
    """Load CSV bytes into a table.

    Args:
        connection: an open transaction.
        table: quoted name; must have been created in this transaction (the rows arrive frozen, on a server with
            ``wal_level=minimal`` without a write-ahead log).
        columns: names, in the order of the CSV.
        blocks: whole CSV lines, no header; an empty unquoted field is NULL.

    Returns:
        rows loaded.
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
    """Arrow's CSV writer knows no dictionaries."""
    whole = table if isinstance(table, pa.Table) else pa.Table.from_batches([table])
    fields = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in whole.schema
    ]
    return whole.cast(pa.schema(fields))


def copy_out(
    connection: Connection[TupleRow], query: sql.Composable, types: dict[str, pa.DataType]
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a query as Arrow.

    Args:
        connection: an open connection.
        query: a SELECT whose columns are those of ``types``, in their order.
        types: column name to Arrow type; text that may be missing or not, NULL becomes null.

    Yields:
        record batches in the order of the query; none where there are no rows.
    """
    command = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        stream = io.BufferedReader(_CopyReader(copy), BLOCK_BYTES)
        if stream.peek(1):
            yield from pacsv.open_csv(stream, *_options(types))


def read_table(connection: Connection[TupleRow], query: sql.Composable, types: dict[str, pa.DataType]) -> pa.Table:
    """Read the rows of a query into one Arrow table; see ``copy_out``."""
    return pa.Table.from_batches(copy_out(connection, query, types), schema=pa.schema(list(types.items())))


def _options(types: dict[str, pa.DataType]) -> tuple[pacsv.ReadOptions, pacsv.ParseOptions, pacsv.ConvertOptions]:
    read = pacsv.ReadOptions(column_names=list(types), block_size=BLOCK_BYTES, use_threads=False)
    convert = pacsv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    return read, pacsv.ParseOptions(), convert


class _CopyReader(io.RawIOBase):
    """A COPY stream as a file: hands out the server's messages, split where the reader's buffer ends."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        filled = 0
        while filled < len(buffer):
            if not self._rest:
                self._rest = memoryview(self._copy.read())
                if not self._rest:
                    break
            size = min(len(buffer) - filled, len(self._rest))
            buffer[filled : filled + size] = self._rest[:size]
            self._rest = self._rest[size:]
            filled += size
        return filled
