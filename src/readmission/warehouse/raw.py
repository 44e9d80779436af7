"""The raw tables: assignment, batches, cumulative views, validation and test, with the names and values of the file."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from readmission.dataset.lines import open_lines
from readmission.dataset.parts import PARTS, Part
from readmission.schema import COLUMN_NAMES, ENCOUNTER_ID
from readmission.services import Services
from readmission.warehouse.builds import build_schema
from readmission.warehouse.connection import connect, statement
from readmission.warehouse.copy import copy_in, to_csv

ROW_ID = "row_id"
RAW_COLUMNS: tuple[str, ...] = (ROW_ID, *COLUMN_NAMES)

LANES = 2
"""Connections that load at the same time."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which row goes where, in the order of the file.

    Attributes:
        encounter_id: shape (n,).
        part: position in PARTS, shape (n,).
        batch_id: batch of a training row, -1 for the others, shape (n,).
    """

    encounter_id: npt.NDArray[np.int64]
    part: npt.NDArray[np.int8]
    batch_id: npt.NDArray[np.int16]

    @property
    def batches(self) -> int:
        """Number of batches."""
        return int(self.batch_id.max(initial=-1)) + 1


def write_assignment(connection: Connection[TupleRow], execution: str, assignment: Assignment) -> None:
    """Store an assignment as a table of the build; the row number is the position in the file, from 1."""
    table = sql.Identifier(build_schema(execution), "assignment")
    connection.execute(
        statement(
            "CREATE TABLE {table} (row_id bigint NOT NULL, encounter_id bigint NOT NULL, part text NOT NULL,"
            " batch_id smallint)",
            table=table,
        )
    )
    columns = pa.table(
        {
            ROW_ID: pa.array(np.arange(1, len(assignment.part) + 1)),
            ENCOUNTER_ID: pa.array(assignment.encounter_id),
            "part": pa.DictionaryArray.from_arrays(pa.array(assignment.part), pa.array([str(part) for part in PARTS])),
            "batch_id": pa.array(assignment.batch_id, mask=assignment.batch_id < 0),
        }
    )
    copy_in(connection, table, columns.column_names, [to_csv(columns)])


def read_assignment(connection: Connection[TupleRow], schema: str) -> Assignment:
    """Read an assignment back in the order of the file.

    The server joins thousands of rows into one message: they are numbers, so nothing needs quoting.

    Args:
        connection: to the raw database.
        schema: of a build, or ``public``.
    """
    query = statement(
        "SELECT string_agg(concat_ws(',', row_id, encounter_id, array_position({parts}, part) - 1,"
        " coalesce(batch_id, -1)), E'\\n') FROM {table} GROUP BY row_id / 16384",
        parts=sql.Literal([str(part) for part in PARTS]),
        table=sql.Identifier(schema, "assignment"),
    )
    text = "\n".join(str(row[0]) for row in connection.execute(query))
    numbers = np.fromstring(text.replace("\n", ","), np.int64, sep=",").reshape(-1, 4)
    numbers = numbers[np.argsort(numbers[:, 0])]
    return Assignment(numbers[:, 1], numbers[:, 2].astype(np.int8), numbers[:, 3].astype(np.int16))


def store_batches(services: Services, execution: str, path: Path, assignment: Assignment) -> list[int]:
    """Load the training rows into ``batch_0`` .. ``batch_{N-1}``.

    Args:
        services: where the raw database is.
        execution: whose build receives the tables.
        path: the verified CSV file.
        assignment: of that file's rows.

    Returns:
        rows of each batch.
    """
    names = [f"batch_{number}" for number in range(assignment.batches)]
    return _store(services, execution, path, assignment.batch_id.astype(np.int64), names)


def store_holdout(services: Services, execution: str, path: Path, assignment: Assignment) -> list[int]:
    """Load the validation and test rows; see ``store_batches``."""
    target_of_part = {Part.TRAIN: -1, Part.VALIDATION: 0, Part.TEST: 1}
    targets = np.array([target_of_part[part] for part in PARTS])[assignment.part]
    return _store(services, execution, path, targets, ["validation_raw", "test_raw"])


def create_views(connection: Connection[TupleRow], execution: str, batches: int) -> list[str]:
    """Create ``train_cumulative_k`` (batches 0 to k) for each k, and ``train_raw`` (all).

    Returns:
        the names of the cumulative views.
    """
    schema = build_schema(execution)
    names = [f"train_cumulative_{last}" for last in range(batches)]
    for last, name in enumerate(names):
        _create_view(connection, schema, name, last + 1)
    _create_view(connection, schema, "train_raw", batches)
    return names


def _create_view(connection: Connection[TupleRow], schema: str, name: str, batches: int) -> None:
    selects = sql.SQL(" UNION ALL ").join(
        statement("SELECT * FROM {table}", table=sql.Identifier(schema, f"batch_{number}")) for number in range(batches)
    )
    connection.execute(
        statement("CREATE OR REPLACE VIEW {name} AS {all}", name=sql.Identifier(schema, name), all=selects)
    )


def _store(
    services: Services, execution: str, path: Path, target_of_row: npt.NDArray[np.int64], names: Sequence[str]
) -> list[int]:
    """Load rows into tables over several connections: the server parses with one core per connection.

    Each lane has a transaction of its own. Nobody sees the build before it is swapped in, so they need not be one.
    """
    tables = [sql.Identifier(build_schema(execution), name) for name in names]
    with connect(services.raw_url) as raw:  # a stage that runs again starts over
        raw.execute(statement("DROP TABLE IF EXISTS {tables} CASCADE", tables=sql.SQL(", ").join(tables)))
    with ExitStack() as stack, ThreadPoolExecutor(LANES) as threads:
        connections = [stack.enter_context(connect(services.raw_url)) for _ in range(min(LANES, len(names)))]
        for number, table in enumerate(tables):
            _create_table(connections[number % len(connections)], table)
        stored = np.zeros(len(tables), np.int64)
        for first_row, lines in _numbered(path):
            targets = target_of_row[first_row : first_row + len(lines)]
            load = partial(_load_lane, connections, tables, lines, targets, first_row)
            stored += np.sum(list(threads.map(load, range(len(connections)))), axis=0)
    return [int(count) for count in stored]


def _load_lane(
    connections: Sequence[Connection[TupleRow]],
    tables: Sequence[sql.Identifier],
    lines: pa.Array,
    targets: npt.NDArray[np.int64],
    first_row: int,
    lane: int,
) -> npt.NDArray[np.int64]:
    """Load those lines whose tables belong to a lane; answer the rows loaded into each table."""
    stored = np.zeros(len(tables), np.int64)
    for number in range(lane, len(tables), len(connections)):
        chosen = np.flatnonzero(targets == number)
        if len(chosen):
            block = _join_lines(lines.take(pa.array(chosen)), chosen + first_row + 1)
            stored[number] = copy_in(connections[lane], tables[number], RAW_COLUMNS, [block])
    return stored


def _create_table(connection: Connection[TupleRow], table: sql.Identifier) -> None:
    columns = sql.SQL(", ").join(statement("{name} text NOT NULL", name=sql.Identifier(name)) for name in COLUMN_NAMES)
    connection.execute(
        statement("CREATE TABLE {table} (row_id bigint NOT NULL, {columns})", table=table, columns=columns)
    )


def _numbered(path: Path) -> Iterator[tuple[int, pa.Array]]:
    first_row = 0
    for lines in open_lines(path):
        yield first_row, lines
        first_row += len(lines)


def _join_lines(lines: pa.Array, row_ids: npt.NDArray[np.int64]) -> memoryview:
    """Put row numbers before whole source lines and join them into CSV: no value is parsed or written anew."""
    numbered = pc.binary_join_element_wise(pa.array(row_ids).cast(pa.string()), lines, ",")
    blocks = pa.ListArray.from_arrays(pa.array([0, len(numbered)], pa.int32()), numbered)
    return memoryview(pc.binary_join(blocks, "\n")[0].as_buffer())
