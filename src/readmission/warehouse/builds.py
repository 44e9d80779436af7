"""Builds: an execution fills a schema of its own, and the last step swaps its tables into ``public``.

A reader sees the old set of tables or the new one. After a crash the old set is still there; the next build drops the
unfinished schema.
"""

import re
from collections.abc import Sequence

from psycopg import Connection, sql
from psycopg.errors import DependentObjectsStillExist, LockNotAvailable
from psycopg.rows import TupleRow

from readmission.errors import BadInputError, ServiceDownError
from readmission.warehouse.connection import statement

PREFIX = "build_"
KEPT_TABLES = ("split_memory",)
"""Tables of ``public`` that outlive every swap."""

LOCK_SECONDS = 60
"""How long a swap waits for sessions that lock the tables it replaces; meanwhile new readers have to wait too."""


def build_schema(execution: str) -> str:
    """Name the schema of an execution."""
    return PREFIX + re.sub(r"[^a-z0-9_]", "_", execution.lower())


def start_build(connection: Connection[TupleRow], execution: str) -> None:
    """Create an empty schema for an execution and drop those of all other executions."""
    for schema in build_schemas(connection):
        connection.execute(statement("DROP SCHEMA {schema} CASCADE", schema=sql.Identifier(schema)))
    connection.execute(statement("CREATE SCHEMA {schema}", schema=sql.Identifier(build_schema(execution))))


def build_schemas(connection: Connection[TupleRow]) -> list[str]:
    """List the existing builds, finished or not."""
    query = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
    return [str(row[0]) for row in connection.execute(query, [PREFIX])]


def swap_in(connection: Connection[TupleRow], execution: str) -> bool:
    """Replace the objects of ``public`` by those of the build, within the caller's transaction.

    Returns:
        whether there was a build to swap in; False if an earlier call has swapped it in.

    Raises:
        BadInputError: an object of the user (such as a view) depends on one that is to be replaced.
        ServiceDownError: a session locks one of them for longer than LOCK_SECONDS.
    """
    schema = build_schema(execution)
    if schema not in build_schemas(connection):
        return False
    connection.execute(statement("SET LOCAL lock_timeout = {limit}", limit=sql.Literal(f"{LOCK_SECONDS}s")))
    for kind, name in _objects(connection, "public"):
        if name not in KEPT_TABLES:
            _drop(connection, kind, name)
    for kind, name in reversed(_objects(connection, schema)):
        connection.execute(
            statement("ALTER {kind} {name} SET SCHEMA public", kind=_keyword(kind), name=sql.Identifier(schema, name))
        )
        if kind != "v":
            _note_owner(connection, name, execution)
    connection.execute(statement("DROP SCHEMA {schema}", schema=sql.Identifier(schema)))
    return True


_OWNER = "readmission execution "


def _note_owner(connection: Connection[TupleRow], table: str, execution: str) -> None:
    connection.execute(
        statement(
            "COMMENT ON TABLE {table} IS {owner}",
            table=sql.Identifier("public", table),
            owner=sql.Literal(_OWNER + execution),
        )
    )


def current_execution(connection: Connection[TupleRow], table: str) -> str | None:
    """The execution that built a current table; None if there is no such table."""
    name = sql.Identifier("public", table).as_string(connection)
    row = connection.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", [name]).fetchone()
    return str(row[0]).removeprefix(_OWNER) if row and row[0] else None


def _drop(connection: Connection[TupleRow], kind: str, name: str) -> None:
    try:
        connection.execute(statement("DROP {kind} {name}", kind=_keyword(kind), name=sql.Identifier("public", name)))
    except DependentObjectsStillExist as error:
        detail = (error.diag.message_detail or name).splitlines()[0]
        raise BadInputError(
            f"The new tables cannot replace those in {connection.info.dbname}: {detail}; drop it and run again"
        ) from None
    except LockNotAvailable:
        raise ServiceDownError(
            f"The new tables cannot replace those in {connection.info.dbname}: for {LOCK_SECONDS} s another session has"
            f" held {name}; find it in pg_stat_activity, end its transaction, and run again"
        ) from None


def _objects(connection: Connection[TupleRow], schema: str) -> Sequence[tuple[str, str]]:
    """List (kind, name) of the tables and views of a schema that this system manages, views first."""
    query = """
        SELECT c.relkind::text, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relkind IN ('r', 'v') AND pg_has_role(c.relowner, 'USAGE')
          AND (c.relname ~ '^(batch|train_cumulative)_[0-9]+$' OR c.relname = ANY(%s))
        ORDER BY c.relkind DESC, c.relname
    """
    return [(str(kind), str(name)) for kind, name in connection.execute(query, [schema, list(MANAGED)])]


MANAGED = ("assignment", "validation_raw", "test_raw", "train_raw", "train_clean", "validation_clean", "test_clean")
"""Names that a build may have, besides batch_K and train_cumulative_K. Other objects in ``public`` are not changed."""


def _keyword(kind: str) -> sql.SQL:
    return sql.SQL("VIEW") if kind == "v" else sql.SQL("TABLE")
