"""Make builds from a file, and look at databases by plain SQL, without the code under test."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psycopg
from pydantic import SecretStr

from readmission.dataset.row_keys import read_keys
from readmission.dataset.split import cut_batches
from readmission.services import Services
from readmission.warehouse.builds import build_schema, start_build
from readmission.warehouse.clean import clean_build
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.migrate import migrate
from readmission.warehouse.raw import Assignment, create_views, store_batches, store_holdout, write_assignment
from readmission.warehouse.split_assignments import save_new_assignments


def fetch(url: SecretStr, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url.get_secret_value()) as connection:
        return connection.execute(query, values or None).fetchall()


def column(url: SecretStr, query: LiteralString, *values: Any) -> list[Any]:
    return [row[0] for row in fetch(url, query, *values)]


def execute(url: SecretStr, statement: LiteralString) -> None:
    with psycopg.connect(url.get_secret_value()) as connection:
        connection.execute(statement)


def relations(url: SecretStr, schema: str = "public") -> set[str]:
    """Names of the tables and views of a schema."""
    return set(column(url, "SELECT table_name::text FROM information_schema.tables WHERE table_schema = %s", schema))


def data_lines(path: Path) -> list[str]:
    """The rows of a file as they are written."""
    return path.read_bytes().decode().split("\r\n")[1:-1]


def draw_assignment(path: Path, batches: int, seed: int = 1) -> Assignment:
    """Parts at random, by row."""
    encounter_id = read_keys(path).encounter_id
    part = np.random.default_rng(seed).choice(3, len(encounter_id), p=[0.7, 0.15, 0.15]).astype(np.int8)
    batch_id = np.full(len(part), -1, np.int16)
    batch_id[part == 0] = cut_batches(int((part == 0).sum()), seed, None, batches)
    return Assignment(part, batch_id, encounter_id)


def store(services: Services, execution: str, path: Path, assignment: Assignment) -> tuple[list[int], list[int]]:
    """Everything that the raw database holds; rows of the batches, of validation and test."""
    with connect(services.raw_url) as raw:
        start_build(raw, execution)
        write_assignment(raw, execution, assignment)
    batches = store_batches(services, execution, path, assignment)
    with connect(services.raw_url) as raw:
        create_views(raw, execution, assignment.batches)
    return batches, store_holdout(services, execution, path, assignment)


def build(services: Services, execution: str, path: Path, assignment: Assignment) -> dict[str, int]:
    """A whole build, ready to be swapped in; rows by clean table."""
    migrate(services.platform_url)
    store(services, execution, path, assignment)
    with connect(services.raw_url) as raw:
        save_new_assignments(raw, execution, "encounter", assignment.encounter_id, assignment.split)
    with connect(services.clean_url) as clean:
        start_build(clean, execution)
    return clean_build(services, execution, assignment.batches)


def sketch_build(url: SecretStr, execution: str, tables: Iterable[str], views: Iterable[str], rows: int = 1) -> None:
    """A build in small: each table has some rows that say whose they are; each view shows the first table."""
    names = list(tables)
    with connect(url) as connection:
        start_build(connection, execution)
        connection.execute(f"SET LOCAL search_path TO {build_schema(execution)}")  # type: ignore[arg-type]
        for name in names:
            query = f"CREATE TABLE {name} AS SELECT '{execution}' AS owner FROM generate_series(1, {rows})"
            connection.execute(query)  # type: ignore[arg-type]
        for view in views:
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {names[0]}")  # type: ignore[arg-type]


def numbered(kind: str, count: int) -> list[str]:
    return [f"{kind}_{number}" for number in range(count)]


def builds_of(url: SecretStr) -> list[str]:
    return column(url, "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, 'build_')")
