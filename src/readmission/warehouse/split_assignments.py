"""The memory of splits: a patient keeps its part for good, so no model is validated on what another was trained on.

``split_memory (grouping, key, part)`` outlives every swap. ``grouping`` is ``patient`` or ``encounter``.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from readmission.dataset.split import UNASSIGNED
from readmission.warehouse.builds import build_schema
from readmission.warehouse.connection import statement
from readmission.warehouse.copy import copy_in, read_table, to_csv

_COLUMNS = "(grouping text NOT NULL, key bigint NOT NULL, part smallint NOT NULL)"
_FRESH = "fresh_parts"


def recall_parts(connection: Connection[TupleRow], grouping: str, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """Look up the parts of groups.

    Args:
        connection: to the raw database.
        grouping: ``patient`` or ``encounter``.
        keys: sorted numbers, shape (g,).

    Returns:
        position in PARTS of each key, UNASSIGNED for a new one; shape (g,).
    """
    parts = np.full(len(keys), UNASSIGNED, np.int8)
    if not _exists(connection, sql.Identifier("public", "split_memory")):
        return parts
    query = statement("SELECT key, part FROM split_memory WHERE grouping = {grouping}", grouping=sql.Literal(grouping))
    table = read_table(connection, query, {"key": pa.int64(), "part": pa.int8()})
    remembered = table["key"].to_numpy()
    positions = np.searchsorted(keys, remembered)
    inside = positions < len(keys)
    inside[inside] = keys[positions[inside]] == remembered[inside]
    parts[positions[inside]] = table["part"].to_numpy()[inside]
    return parts


def note_parts(
    connection: Connection[TupleRow],
    execution: str,
    grouping: str,
    keys: npt.NDArray[np.int64],
    parts: npt.NDArray[np.int8],
) -> None:
    """Keep the parts of new groups in the build; the swap makes them permanent.

    Args:
        connection: an open transaction of the raw database.
        execution: whose build.
        grouping: ``patient`` or ``encounter``.
        keys: numbers of new groups, shape (g,).
        parts: position in PARTS of each, shape (g,).
    """
    table = sql.Identifier(build_schema(execution), _FRESH)
    connection.execute(statement("CREATE TABLE {table} {columns}", table=table, columns=sql.SQL(_COLUMNS)))
    rows = pa.table({"grouping": pa.array([grouping] * len(keys)), "key": pa.array(keys), "part": pa.array(parts)})
    copy_in(connection, table, rows.column_names, [to_csv(rows)])


def remember_parts(connection: Connection[TupleRow], execution: str) -> None:
    """Move what ``note_parts`` kept, if anything, into the memory, within the transaction of the swap."""
    table = sql.Identifier(build_schema(execution), _FRESH)
    if not _exists(connection, table):
        return  # an experiment
    connection.execute(statement("CREATE TABLE IF NOT EXISTS split_memory {columns}", columns=sql.SQL(_COLUMNS)))
    connection.execute(statement("INSERT INTO split_memory SELECT * FROM {table}", table=table))
    connection.execute(statement("DROP TABLE {table}", table=table))


def _exists(connection: Connection[TupleRow], table: sql.Identifier) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table.as_string(connection)]).fetchone()
    return bool(row and row[0])
