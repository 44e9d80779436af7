"""Executions of the pipeline: their options, and the results of their steps."""

from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from readmission.errors import BadInputError


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
