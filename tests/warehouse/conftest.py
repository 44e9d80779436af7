"""Databases of these tests alone, on the session's server, and small files to load into them."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from readmission.dataset.synthetic.records import write_synthetic
from readmission.services import Services, local_credentials
from readmission.settings import Settings

DATABASES = {"raw_url": "rawdata_user", "clean_url": "cleandata_user", "platform_url": "platform_user"}


def renamed(url: SecretStr, database: str) -> SecretStr:
    return SecretStr(f"{url.get_secret_value().rpartition('/')[0]}/{database}")


@pytest.fixture(scope="session")
def databases(stack: Settings, services: Services) -> Iterator[Services]:
    """Three empty databases; they go with the session's server."""
    names = {field: f"test_{field}_{secrets.token_hex(4)}" for field in DATABASES}
    password = local_credentials(stack)["postgres"]
    superuser = f"postgresql://postgres:{password}@127.0.0.1:{stack.postgres_port}/postgres"
    with psycopg.connect(superuser, autocommit=True) as connection:
        for field, owner in DATABASES.items():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(names[field]), sql.Identifier(owner))
            )
    own = services.model_copy(update={field: renamed(getattr(services, field), name) for field, name in names.items()})
    yield own
    empty(own)  # what is gone need not be written to disk when the server stops


def empty(services: Services) -> None:
    for field in DATABASES:
        with psycopg.connect(getattr(services, field).get_secret_value(), autocommit=True) as connection:
            query = "SELECT nspname FROM pg_namespace WHERE nspname = 'public' OR starts_with(nspname, 'build_')"
            for (schema,) in connection.execute(query).fetchall():
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
            connection.execute("CREATE SCHEMA public")


@pytest.fixture
def warehouse(databases: Services) -> Services:
    """The databases, emptied."""
    empty(databases)
    return databases


@pytest.fixture(scope="session")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some synthetic records in the source's format."""
    path = tmp_path_factory.mktemp("warehouse") / "small.csv"
    write_synthetic(path, 600)
    return path
