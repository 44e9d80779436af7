"""The raw tables: assignment, batches, cumulative views, validation and test, with the names and values of the file."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from readmission.dataset.lines import open_lines
from readmission.dataset.splits import SPLITS, Split
from readmission.schema import COLUMN_NAMES, ENCOUNTER_ID
from readmission.services import Services
from readmission.warehouse.builds import build_schema
from readmission.warehouse.connection import connect, statement
from readmission.warehouse.copy import copy_in, to_csv

ROW_ID = "row_id"
RAW_COLUMNS: tuple[str, ...] = (ROW_ID, *COLUMN_NAMES)

LANES = 2
"""Number of connections that load in parallel."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Split and batch of each row, in the order of the file.

    Attributes:
        split: index into SPLITS, shape (n,).
        batch_id: batch of a training row, -1 for the others, shape (n,).
    """

    split: npt.NDArray[np.int8]
    batch_id: npt.NDArray[np.int16]

    @property
    def batches(self) -> int:
        """Number of batches."""
        return int(self.batch_id.max(initial=-1)) + 1


@dataclass(frozen=True, slots=True)
class Assignment(Placement):
    """Split, batch and encounter number of each row, in the order of the file.

    Attributes:
        encounter_id: shape (n,).
    """

    encounter_id: npt.NDArray[np.int64]


def write_assignment(connection: Connection[TupleRow], execution: str, assignment: Assignment) -> None:
    """Store an assignment as a table of the build; ``row_id`` is the position in the file, from 1."""
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
            ROW_ID: pa.array(np.arange(1, len(assignment.split) + 1)),
            ENCOUNTER_ID: pa.array(assignment.encounter_id),
            "part": pa.DictionaryArray.from_arrays(pa.array(assignment.split), pa.array(map(str, SPLITS))),
            "batch_id": pa.array(assignment.batch_id, mask=assignment.batch_id < 0),
        }
    )
    copy_in(connection, table, columns.column_names, [to_csv(columns)])


def read_placement(connection: Connection[TupleRow], schema: str) -> Placement:
    """Read the split and batch of each row from the table ``assignment``.

    Args:
        connection: to the raw database.
        schema: of a build, or ``public``.
    """
    query = statement(
        "SELECT array_agg((array_position({splits}, part) - 1)::int2 ORDER BY row_id),"
        " array_agg(coalesce(batch_id, -1::int2) ORDER BY row_id) FROM {table}",
        splits=sql.Literal([str(split) for split in SPLITS]),
        table=sql.Identifier(schema, "assignment"),
    )
    row = connection.cursor(binary=True).execute(query).fetchone()
    split, batch_id = row if row and row[0] else ([], [])
    return Placement(np.array(split, np.int8), np.array(batch_id, np.int16))


def store_batches(services: Services, execution: str, path: Path, placement: Placement) -> list[int]:
    """Load the training rows into ``batch_0`` .. ``batch_{N-1}``.

    Args:
        services: where the raw database is.
        execution: whose build receives the tables.
        path: the verified CSV file.
        placement: of that file's rows.

    Returns:
        number of rows of each batch.
    """
    return _store(services, execution, path, placement.batch_id.astype(np.int64), batch_tables(placement.batches))


HOLDOUT_TABLES = ("validation_raw", "test_raw")


def store_holdout(services: Services, execution: str, path: Path, placement: Placement) -> list[int]:
    """Load the validation and test rows; see ``store_batches``."""
    return _store(services, execution, path, _holdout_targets(placement, 0), HOLDOUT_TABLES)


def store_all(services: Services, execution: str, path: Path, placement: Placement) -> list[int]:
    """Load all rows in one pass over the file: batches, validation, test; see ``store_batches``."""
    names = [*batch_tables(placement.batches), *HOLDOUT_TABLES]
    targets = np.maximum(_holdout_targets(placement, placement.batches), placement.batch_id)
    return _store(services, execution, path, targets, names)


def _holdout_targets(placement: Placement, first: int) -> npt.NDArray[np.int64]:
    """Table number of each row: ``first`` for validation, the next for test, -1 for training rows; shape (n,)."""
    table_of_split = {Split.TRAIN: -1, Split.VALIDATION: first, Split.TEST: first + 1}
    targets: npt.NDArray[np.int64] = np.array([table_of_split[split] for split in SPLITS])[placement.split]
    return targets


def batch_tables(batches: int) -> list[str]:
    """Name the batch tables."""
    return [f"batch_{number}" for number in range(batches)]


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
    """Load rows into tables over several connections, since the server parses with one core per connection.

    Each connection has a thread and a transaction of its own, and loads every LANES-th table; none commits before all
    have loaded.
    """
    tables = [sql.Identifier(build_schema(execution), name) for name in names]
    with connect(services.raw_url) as raw:  # when the stage is repeated, it starts over
        raw.execute(statement("DROP TABLE IF EXISTS {tables} CASCADE", tables=sql.SQL(", ").join(tables)))
    load = partial(_load_lane, services, tables, path, target_of_row, Barrier(LANES))
    with ThreadPoolExecutor(LANES) as threads:
        lanes = [threads.submit(load, lane) for lane in range(LANES)]
    errors = [error for lane in lanes if (error := lane.exception())]
    for error in errors:
        if len(errors) == 1 or not isinstance(error, BrokenBarrierError):  # the error that broke the barrier
            raise error
    return [int(count) for count in np.sum([lane.result() for lane in lanes], axis=0)]


def _load_lane(
    services: Services,
    tables: Sequence[sql.Identifier],
    path: Path,
    target_of_row: npt.NDArray[np.int64],
    loaded: Barrier,
    lane: int,
) -> npt.NDArray[np.int64]:
    """Create and fill the tables of one connection; return the number of rows loaded into each table."""
    stored = np.zeros(len(tables), np.int64)
    own = range(lane, len(tables), LANES)
    with connect(services.raw_url) as raw, _all_or_none(loaded):
        for number in own:
            _create_table(raw, tables[number])
        for first_row, lines in _numbered(path):
            targets = target_of_row[first_row : first_row + len(lines)]
            for number in own:
                chosen = np.flatnonzero(targets == number)
                if len(chosen):
                    block = _join_lines(lines.take(pa.array(chosen)), chosen + first_row + 1)
                    stored[number] += copy_in(raw, tables[number], RAW_COLUMNS, [block])
    return stored


@contextmanager
def _all_or_none(loaded: Barrier) -> Iterator[None]:
    """Wait at the end for the other connections; if this one fails, they fail too."""
    together = False
    try:
        yield
        loaded.wait()
        together = True
    finally:
        if not together:
            loaded.abort()


def _create_table(connection: Connection[TupleRow], table: sql.Identifier) -> None:
    columns = sql.SQL(", ").join(statement("{name} text NOT NULL", name=sql.Identifier(name)) for name in COLUMN_NAMES)
    connection.execute(
        statement("CREATE TABLE {table} (row_id bigint NOT NULL, {columns})", table=table, columns=columns)
    )


def _numbered(path: Path) -> Iterator[tuple[int, pa.Array]]:
    """Read the lines of the file in blocks; yield each with the number of rows before it."""
    first_row = 0
    for lines in open_lines(path):
        yield first_row, lines
        first_row += len(lines)


def _join_lines(lines: pa.Array, row_ids: npt.NDArray[np.int64]) -> memoryview:
    """Join lines of the file to CSV with ``row_id`` as first column, without parsing their values.

    Parsing the columns and writing them as CSV again makes the stage ``store`` half as fast (docs/benchmarks.md).
    """
    numbered = pc.binary_join_element_wise(pa.array(row_ids).cast(pa.string()), lines, ",")
    blocks = pa.ListArray.from_arrays(pa.array([0, len(numbered)], pa.int32()), numbered)
    return memoryview(pc.binary_join(blocks, "\n")[0].as_buffer())
