"""The lock of the pipeline: one run at a time, on whatever host."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.errors import LockHeldError
from readmission.warehouse.connection import connect

_LOCK = 7_307_001
"""Number of the advisory lock; anything that no other program uses in this database."""


@contextmanager
def run_lock(url: SecretStr, holder: str) -> Iterator[None]:
    """Hold the lock of the pipeline: one run at a time. It ends with its connection, so also when the run is killed.

    Args:
        url: of platform_db.
        holder: what others are told about who holds it.

    Raises:
        LockHeldError: somebody else holds it.
    """
    with connect(url, application=f"readmission pipeline, {holder}", autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if not (row and row[0]):
            raise LockHeldError(f"Another pipeline run is under way: {_holder(connection)}; wait for it to end")
        yield


def _holder(connection: Connection[TupleRow]) -> str:
    query = """
        SELECT a.application_name, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS') FROM pg_locks l
        JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted
          AND a.datname = current_database()
    """
    row = connection.execute(query, [_LOCK]).fetchone()
    return f"{row[0]}, since {row[1]}" if row else "it has just ended, try again"
