"""Builds: an execution fills a schema of its own; the last step swaps it into ``public``.

A reader sees the old set or the new one. A crash leaves the old one and a leftover schema, which the next build drops.
"""

import re
from collections.abc import Sequence

from psycopg import Connection, sql
from psycopg.errors import DependentObjectsStillExist
from psycopg.rows import TupleRow

from readmission.errors import BadInputError
from readmission.warehouse.connection import statement

PREFIX = "build_"
KEPT_TABLES = ("split_memory",)
"""Tables of ``public`` that outlive every swap."""


def build_schema(execution: str) -> str:
    """Name the schema of an execution."""
    return PREFIX + re.sub(r"[^a-z0-9_]", "_", execution.lower())


def start_build(connection: Connection[TupleRow], execution: str) -> None:
    """Make an empty schema for an execution and drop those of all others."""
    for schema in build_schemas(connection):
        connection.execute(statement("DROP SCHEMA {schema} CASCADE", schema=sql.Identifier(schema)))
    connection.execute(statement("CREATE SCHEMA {schema}", schema=sql.Identifier(build_schema(execution))))


def build_schemas(connection: Connection[TupleRow]) -> list[str]:
    """List the builds that are there, finished or not."""
    query = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
    return [str(row[0]) for row in connection.execute(query, [PREFIX])]


def swap_in(connection: Connection[TupleRow], execution: str) -> bool:
    """Replace the objects of ``public`` by those of the build, within the caller's transaction.

    Returns:
        whether there was a build to swap in; False where an earlier call had done it.

    Raises:
        BadInputError: something of the user's depends on an object that is to be replaced.
    """
    schema = build_schema(execution)
    if schema not in build_schemas(connection):
        return False
    for kind, name in _objects(connection, "public"):
        if name not in KEPT_TABLES:
            _drop(connection, kind, name)
    for kind, name in reversed(_objects(connection, schema)):
        connection.execute(
            statement("ALTER {kind} {name} SET SCHEMA public", kind=_keyword(kind), name=sql.Identifier(schema, name))
        )
    connection.execute(statement("DROP SCHEMA {schema}", schema=sql.Identifier(schema)))
    return True


def _drop(connection: Connection[TupleRow], kind: str, name: str) -> None:
    try:
        connection.execute(statement("DROP {kind} {name}", kind=_keyword(kind), name=sql.Identifier("public", name)))
    except DependentObjectsStillExist as error:
        detail = (error.diag.message_detail or name).splitlines()[0]
        raise BadInputError(
            f"The new tables cannot replace those in {connection.info.dbname}: {detail}; drop it and run again"
        ) from None


def _objects(connection: Connection[TupleRow], schema: str) -> Sequence[tuple[str, str]]:
    """List (kind, name) of tables and views of a schema that are ours, views first."""
    query = """
        SELECT c.relkind::text, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relkind IN ('r', 'v') AND pg_has_role(c.relowner, 'USAGE')
          AND (c.relname ~ '^(batch|train_cumulative)_[0-9]+$' OR c.relname = ANY(%s))
        ORDER BY c.relkind DESC, c.relname
    """
    return [(str(kind), str(name)) for kind, name in connection.execute(query, [schema, list(MANAGED)])]


MANAGED = ("assignment", "validation_raw", "test_raw", "train_raw", "train_clean", "validation_clean", "test_clean")
"""Besides batch_K and train_cumulative_K: what a build may hold. Everything else in ``public`` is left alone."""


def _keyword(kind: str) -> sql.SQL:
    return sql.SQL("VIEW") if kind == "v" else sql.SQL("TABLE")
