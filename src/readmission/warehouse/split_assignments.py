"""Split assignments: each patient stays in one split for good, so no model is validated on another's training rows.

The table ``split_memory (grouping, key, part)`` outlives every swap. ``grouping`` is ``patient`` or ``encounter``
(``patient:EXECUTION`` for an experiment), ``key`` is a patient or encounter number, ``part`` an index into SPLITS.
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
_NEW = "fresh_parts"
"""Table of a build that holds its new assignments until the swap."""


def load_assignments(
    connection: Connection[TupleRow], grouping: str, keys: npt.NDArray[np.int64]
) -> npt.NDArray[np.int8]:
    """Load the splits of groups.

    Args:
        connection: to the raw database.
        grouping: ``patient`` or ``encounter``.
        keys: sorted numbers, shape (g,).

    Returns:
        index into SPLITS of each key, UNASSIGNED for a new one; shape (g,).
    """
    splits = np.full(len(keys), UNASSIGNED, np.int8)
    if not _exists(connection, sql.Identifier("public", "split_memory")):
        return splits
    query = statement("SELECT key, part FROM split_memory WHERE grouping = {grouping}", grouping=sql.Literal(grouping))
    table = read_table(connection, query, {"key": pa.int64(), "part": pa.int8()})
    stored = table["key"].to_numpy()
    positions = np.searchsorted(keys, stored)
    found = positions < len(keys)
    found[found] = keys[positions[found]] == stored[found]
    splits[positions[found]] = table["part"].to_numpy()[found]
    return splits


def save_new_assignments(
    connection: Connection[TupleRow],
    execution: str,
    grouping: str,
    keys: npt.NDArray[np.int64],
    splits: npt.NDArray[np.int8],
) -> None:
    """Save the splits of new groups in the build; ``commit_assignments`` makes them permanent.

    Args:
        connection: an open transaction of the raw database.
        execution: whose build.
        grouping: ``patient`` or ``encounter``.
        keys: numbers of new groups, shape (g,).
        splits: index into SPLITS of each, shape (g,).
    """
    table = sql.Identifier(build_schema(execution), _NEW)
    connection.execute(statement("CREATE TABLE {table} {columns}", table=table, columns=sql.SQL(_COLUMNS)))
    rows = pa.table({"grouping": pa.array([grouping] * len(keys)), "key": pa.array(keys), "part": pa.array(splits)})
    copy_in(connection, table, rows.column_names, [to_csv(rows)])


def commit_assignments(connection: Connection[TupleRow], execution: str) -> None:
    """Move the new assignments of a build, if any, into the permanent table, in the transaction of the swap."""
    table = sql.Identifier(build_schema(execution), _NEW)
    if not _exists(connection, table):
        return  # this build has none
    connection.execute(statement("CREATE TABLE IF NOT EXISTS split_memory {columns}", columns=sql.SQL(_COLUMNS)))
    connection.execute(statement("INSERT INTO split_memory SELECT * FROM {table}", table=table))
    connection.execute(statement("DROP TABLE {table}", table=table))


def _exists(connection: Connection[TupleRow], table: sql.Identifier) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table.as_string(connection)]).fetchone()
    return bool(row and row[0])
