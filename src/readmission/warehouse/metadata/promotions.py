"""The log of promotions: who moved production, when, from what, to what, and why."""

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict


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
