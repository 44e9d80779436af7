"""Connect to PostgreSQL; failures become one plain line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import Connection, conninfo, sql
from psycopg.errors import InvalidSchemaName, UndefinedTable
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.errors import BadInputError, ServiceDownError

CONNECT_SECONDS = 5


@contextmanager
def connect(
    url: SecretStr, application: str = "readmission", autocommit: bool = False
) -> Iterator[Connection[TupleRow]]:
    """Open a connection; commit at the end of the block, roll back on an error.

    Args:
        url: ``postgresql://user:password@host:port/database``.
        application: the name in ``pg_stat_activity``.
        autocommit: commit each statement on its own.

    Raises:
        BadInputError: the URL cannot be read, or the block needs a table that an earlier stage has not created.
        ServiceDownError: the server does not answer, refuses the login, or stops within the block.
    """
    where = address(url)
    try:
        with psycopg.connect(
            url.get_secret_value(),
            autocommit=autocommit,
            connect_timeout=CONNECT_SECONDS,
            application_name=application,
        ) as connection:
            yield connection
    except (UndefinedTable, InvalidSchemaName) as error:
        reason = _first_line(error)
        raise BadInputError(
            f"PostgreSQL at {where}: {reason}; run the earlier stages, from `split` on, first"
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ServiceDownError(f"PostgreSQL at {where}: {_first_line(error)}; see `readmission doctor`") from error


def address(url: SecretStr) -> str:
    """Host, port and database of a URL, without user and password.

    Raises:
        BadInputError: the URL cannot be read.
    """
    try:
        parts = conninfo.conninfo_to_dict(url.get_secret_value())
    except psycopg.ProgrammingError:  # its message contains the URL
        raise BadInputError(
            "The URL of a database is not valid: write postgresql://user:password@host:port/database"
        ) from None
    return f"{parts.get('host')}:{parts.get('port', 5432)}/{parts.get('dbname')}"


def statement(template: LiteralString, **names: sql.Composable) -> sql.Composed:
    """Format a statement with quoted names and literals."""
    return sql.SQL(template).format(**names)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
