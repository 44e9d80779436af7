"""platform_db: the lock of a run, results of its steps, swaps under way, and the log of promotions."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, SecretStr

from readmission.errors import BadInputError, LockHeldError
from readmission.warehouse.connection import connect

_TABLES = """
CREATE TABLE IF NOT EXISTS executions (
    execution text PRIMARY KEY, started_at timestamptz NOT NULL DEFAULT now(), options jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS stage_results (
    execution text NOT NULL REFERENCES executions ON DELETE CASCADE, stage text NOT NULL, result jsonb NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (execution, stage));
CREATE TABLE IF NOT EXISTS swaps (execution text PRIMARY KEY, started_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS promotions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL,
    model_name text NOT NULL, from_version text, to_version text NOT NULL, decision text NOT NULL,
    reasons jsonb NOT NULL, execution text);
ALTER TABLE promotions ADD COLUMN IF NOT EXISTS pending boolean NOT NULL DEFAULT false;
"""
_LOCK = 7_307_001
"""Number of the advisory lock; anything that no other program uses in this database."""


class Promotion(BaseModel):
    """One row of the log: who moved production, from what, to what, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    actor: str
    model_name: str
    from_version: str | None
    to_version: str
    decision: str
    reasons: list[str]
    execution: str | None = None


def create_tables(url: SecretStr) -> None:
    """Create what is missing."""
    with connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK + 1])  # two starts at once must not race
        connection.execute(_TABLES)


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


def begin_execution(connection: Connection[TupleRow], execution: str, options: dict[str, Any]) -> None:
    """Register an execution with its options."""
    connection.execute(
        "INSERT INTO executions (execution, options) VALUES (%s, %s) ON CONFLICT (execution) DO UPDATE SET options ="
        " EXCLUDED.options",
        [execution, Jsonb(options)],
    )


def latest_execution(connection: Connection[TupleRow], before: datetime | None = None) -> str:
    """Name the execution that began last, or last before a moment.

    Raises:
        BadInputError: there is none.
    """
    query = "SELECT execution FROM executions WHERE started_at <= coalesce(%s, now()) ORDER BY started_at DESC LIMIT 1"
    row = connection.execute(query, [before]).fetchone()
    if not row:
        raise BadInputError("No execution yet: begin with `readmission pipeline download`")
    return str(row[0])


def execution_options(connection: Connection[TupleRow], execution: str) -> dict[str, Any]:
    """Read the options that an execution began with."""
    row = connection.execute("SELECT options FROM executions WHERE execution = %s", [execution]).fetchone()
    if not row:
        raise BadInputError(f"No execution is called {execution}")
    return dict(row[0])


def save_result(connection: Connection[TupleRow], execution: str, step: str, result: dict[str, Any]) -> None:
    """Store the result of a step; a step that runs again replaces it."""
    connection.execute(
        "INSERT INTO stage_results (execution, stage, result) VALUES (%s, %s, %s) ON CONFLICT (execution, stage)"
        " DO UPDATE SET result = EXCLUDED.result, finished_at = now()",
        [execution, step, Jsonb(result)],
    )


def forget_results(connection: Connection[TupleRow], execution: str, steps: str) -> None:
    """Delete the results of the steps whose whole names this regular expression matches."""
    query = "DELETE FROM stage_results WHERE execution = %s AND stage ~ ('^(' || %s || ')$')"
    connection.execute(query, [execution, steps])


def load_results(connection: Connection[TupleRow], execution: str, steps: str) -> dict[str, dict[str, Any]]:
    """Read the results of the steps whose whole names this regular expression matches, by name."""
    query = "SELECT stage, result FROM stage_results WHERE execution = %s AND stage ~ ('^(' || %s || ')$')"
    return {str(row[0]): dict(row[1]) for row in connection.execute(query, [execution, steps])}


def latest_result(connection: Connection[TupleRow], step: str) -> dict[str, Any] | None:
    """Read the result of a step in the execution that was published last; None where nothing was."""
    query = """
        SELECT result FROM stage_results WHERE stage = %s AND execution =
          (SELECT execution FROM stage_results WHERE stage = 'publish' ORDER BY finished_at DESC LIMIT 1)
    """
    row = connection.execute(query, [step]).fetchone()
    return dict(row[0]) if row else None


def log_promotion(connection: Connection[TupleRow], promotion: Promotion, pending: bool = False) -> int:
    """Add a row to the log of promotions; answer its number.

    Args:
        connection: to platform_db.
        promotion: the row.
        pending: the alias has yet to move.
    """
    values = {**promotion.model_dump(), "reasons": Jsonb(promotion.reasons), "pending": pending}
    row = connection.execute(
        "INSERT INTO promotions (actor, model_name, from_version, to_version, decision, reasons, execution, pending)"
        " VALUES (%(actor)s, %(model_name)s, %(from_version)s, %(to_version)s, %(decision)s, %(reasons)s,"
        " %(execution)s, %(pending)s) RETURNING id",
        values,
    ).fetchone()
    return int(row[0]) if row else 0


def version_before(connection: Connection[TupleRow], model_name: str, version: str) -> str | None:
    """Name the version that was in production before this one was published or promoted; None where none was."""
    row = connection.execute(
        "SELECT from_version FROM promotions WHERE model_name = %s AND to_version = %s"
        " AND decision IN ('published', 'promoted') ORDER BY id DESC LIMIT 1",
        [model_name, version],
    ).fetchone()
    return str(row[0]) if row and row[0] else None


def pending_promotions(connection: Connection[TupleRow]) -> dict[int, Promotion]:
    """List what was begun and not ended, by number, oldest first."""
    cursor = connection.execute(
        "SELECT id, actor, model_name, from_version, to_version, decision, reasons, execution FROM promotions"
        " WHERE pending ORDER BY id"
    )
    names = list(Promotion.model_fields)
    return {int(row[0]): Promotion.model_validate(dict(zip(names, row[1:], strict=True))) for row in cursor}


def end_promotion(connection: Connection[TupleRow], number: int, decision: str) -> None:
    """Note that the alias has moved, or why not."""
    connection.execute("UPDATE promotions SET pending = false, decision = %s WHERE id = %s", [decision, number])
