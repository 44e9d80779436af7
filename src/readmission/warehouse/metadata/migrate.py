"""Bring platform_db to the schema of this release: versioned migrations, run by alembic.

There are no downgrades: an older release goes with a backup of its own database.
"""

from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.errors import BadInputError, ReadmissionError
from readmission.warehouse.connection import address, connect

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_SCRIPTS = "readmission.warehouse.metadata:migrations"
_LOCK = 7_307_002
"""Number of the advisory lock under which a database is migrated: two starts at once must not race."""


class Migrated(NamedTuple):
    """Revisions before and after; None before the first."""

    before: str | None
    after: str


def revisions() -> list[str]:
    """The revisions of this release, oldest first."""
    return sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


def migrate(url: SecretStr) -> Migrated:
    """Bring a database to the newest revision; where it is there already, that takes two short queries.

    Args:
        url: of platform_db.

    Returns:
        the revision that this call found, once no other start was migrating, and the newest.

    Raises:
        BadInputError: the database has a revision that this release does not know.
        ReadmissionError: a revision failed; nothing was changed.
        ServiceDownError: the server does not answer.
    """
    with connect(url) as connection:
        newest = revisions()[-1]
        before = _known_revision(connection, address(url))
        if before != newest:
            # Of the session, for the transaction ends here: PostgreSQL remembers in it that there was no table.
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            connection.commit()
            before = _known_revision(connection, address(url))  # the start that held the lock may have migrated it
        if before != newest:
            _upgrade(connection, address(url))
    return Migrated(before, newest)


def _known_revision(connection: Connection[TupleRow], where: str) -> str | None:
    revision, known = _revision(connection), revisions()
    if revision is not None and revision not in known:
        raise BadInputError(
            f"The database {where} has revision {revision}, this release knows revisions up to {known[-1]}:"
            " use the newer release, or restore a backup"
        )
    return revision


def _revision(connection: Connection[TupleRow]) -> str | None:
    row = connection.execute("SELECT to_regclass('public.alembic_version')").fetchone()
    if not (row and row[0]):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _upgrade(connection: Connection[TupleRow], where: str) -> None:
    """Run the revisions that are missing, in one transaction."""
    from alembic import command  # half a second that most starts do not need
    from alembic.config import Config
    from sqlalchemy import StaticPool, create_engine
    from sqlalchemy.exc import DBAPIError

    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    try:
        with engine.connect() as same:
            config.attributes["connection"] = same
            command.upgrade(config, "head")
            same.commit()
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError):
            raise error.orig from None  # ``connect`` says it in one line
        reason = str(error.orig).partition("\n")[0]
        raise ReadmissionError(
            f"The migration of the database {where} failed, nothing was changed: {reason}"
        ) from error
