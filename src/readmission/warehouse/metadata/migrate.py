"""Bring platform_db to the schema of this release: versioned migrations, run by alembic.

There are no downgrades: an older release goes with a backup of its own database.
"""

from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.errors import BadInputError
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
    """Bring a database to the newest revision; one query where it is there already.

    Args:
        url: of platform_db.

    Raises:
        BadInputError: the database has a revision that this release does not know.
        ServiceDownError: the server does not answer.
    """
    known = revisions()
    with connect(url) as connection:
        before = _revision(connection)
        if before is not None and before not in known:
            raise BadInputError(
                f"The database {address(url)} has revision {before}, this release knows revisions up to {known[-1]}:"
                " use the newer release, or restore a backup"
            )
        if before != known[-1]:
            # Of the session, not the transaction: SQLAlchemy rolls one back when it first looks at the server.
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            _upgrade(connection)
    return Migrated(before, known[-1])


def _revision(connection: Connection[TupleRow]) -> str | None:
    row = connection.execute("SELECT to_regclass('public.alembic_version')").fetchone()
    if not (row and row[0]):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _upgrade(connection: Connection[TupleRow]) -> None:
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
        raise error.orig if isinstance(error.orig, psycopg.Error) else error from None
