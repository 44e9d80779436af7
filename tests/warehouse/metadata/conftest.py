"""An empty platform_db, migrated."""

from collections.abc import Iterator

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.services import Services
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.migrate import migrate


@pytest.fixture
def url(warehouse: Services) -> SecretStr:
    migrate(warehouse.platform_url)
    return warehouse.platform_url


@pytest.fixture
def platform(url: SecretStr) -> Iterator[Connection[TupleRow]]:
    with connect(url, autocommit=True) as connection:
        yield connection
