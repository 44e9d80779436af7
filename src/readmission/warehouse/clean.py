"""The clean tables: typed columns, missing is NULL, and the cumulative views that training reads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from readmission.features.columns import ARROW_TYPES, clean_columns
from readmission.features.rules import FEATURE_TYPES
from readmission.schema import ENCOUNTER_ID, EXPIRED_DISCHARGES, LABEL_COLUMN, PATIENT_NBR, RECORD_COLUMNS
from readmission.services import Services
from readmission.warehouse.builds import build_schema
from readmission.warehouse.connection import connect, statement
from readmission.warehouse.copy import copy_in, read_pages, read_table, to_csv
from readmission.warehouse.raw import LANES, ROW_ID

CLEAN_TABLES = ("train_clean", "validation_clean", "test_clean")

_KEYS = (ROW_ID, ENCOUNTER_ID, PATIENT_NBR)
_RAW_TYPES = {
    **dict.fromkeys(_KEYS, pa.int64()),
    **{column.name: pa.dictionary(pa.int32(), pa.string()) for column in RECORD_COLUMNS},
    LABEL_COLUMN: pa.string(),
}
_SQL_TYPES: dict[str, LiteralString] = {"text": "text", "integer": "integer"}


def create_clean_table(connection: Connection[TupleRow], execution: str, name: str) -> None:
    """Create an empty clean table in the build; ``batch_id`` is NULL outside training."""
    features = sql.SQL(", ").join(
        statement("{name} {dtype}", name=sql.Identifier(name), dtype=sql.SQL(_SQL_TYPES[dtype]))
        for name, dtype in FEATURE_TYPES.items()
    )
    table = sql.Identifier(build_schema(execution), name)
    connection.execute(statement("DROP TABLE IF EXISTS {table} CASCADE", table=table))
    connection.execute(
        statement(
            "CREATE TABLE {table} (row_id bigint NOT NULL, encounter_id bigint NOT NULL, patient_nbr bigint NOT NULL,"
            " batch_id smallint, {features}, readmitted text NOT NULL)",
            table=table,
            features=features,
        )
    )


def clean_table(
    raw: Connection[TupleRow],
    clean: Connection[TupleRow],
    execution: str,
    source: str,
    target: str,
    batch_id: int | None,
    exclude_expired: bool = False,
) -> int:
    """Clean one raw table of a build into a clean table of the same build, streaming.

    Args:
        raw, clean: open transactions of the two databases; the target was created in the latter.
        execution: whose builds.
        source: name of the raw table.
        target: name of the clean table.
        batch_id: of the rows; None outside training.
        exclude_expired: leave out encounters that ended in death or hospice.

    Returns:
        number of rows cleaned.
    """
    tables = read_pages(raw, sql.Identifier(build_schema(execution), source), _RAW_TYPES)
    names = [*_KEYS, "batch_id", *FEATURE_TYPES, LABEL_COLUMN]
    kept = (_survivors(rows) if exclude_expired else rows for rows in tables)
    blocks = (to_csv(_clean_rows(rows, batch_id)) for rows in kept if rows.num_rows)
    return copy_in(clean, sql.Identifier(build_schema(execution), target), names, blocks)


def _survivors(raw: pa.Table) -> pa.Table:
    discharge = raw.column("discharge_disposition_id").cast(pa.string())
    return raw.filter(pc.invert(pc.is_in(discharge, pa.array(EXPIRED_DISCHARGES))))


def _clean_rows(raw: pa.Table, batch_id: int | None) -> pa.Table:
    cleaned = clean_columns(raw)
    for position, name in enumerate(_KEYS):
        cleaned = cleaned.add_column(position, name, raw.column(name))
    ids = pa.array(np.full(raw.num_rows, -1 if batch_id is None else batch_id, np.int16))
    cleaned = cleaned.add_column(len(_KEYS), "batch_id", ids if batch_id is not None else pc.if_else(False, ids, None))
    return cleaned.append_column(LABEL_COLUMN, raw.column(LABEL_COLUMN))


def create_clean_views(connection: Connection[TupleRow], execution: str, batches: int) -> None:
    """Create ``train_cumulative_k`` over ``train_clean`` for each k."""
    schema = build_schema(execution)
    for last in range(batches):
        connection.execute(
            statement(
                "CREATE VIEW {view} AS SELECT * FROM {table} WHERE batch_id <= {last}",
                view=sql.Identifier(schema, f"train_cumulative_{last}"),
                table=sql.Identifier(schema, "train_clean"),
                last=sql.Literal(last),
            )
        )


def read_clean(connection: Connection[TupleRow], name: str, schema: str = "public") -> pa.Table:
    """Read patient, features and label of a clean table or view, ordered by ``row_id``.

    Args:
        connection: to the clean database.
        name: ``train_cumulative_k``, ``validation_clean`` or ``test_clean``.
        schema: ``public``, or that of a build.

    Returns:
        n rows; ``patient_nbr`` (to group rows by patient, never a feature), the columns of ``rules.FEATURE_TYPES``
        (text dictionary-encoded) and ``readmitted``.
    """
    types = {
        PATIENT_NBR: pa.int64(),
        **{name: _read_type(dtype) for name, dtype in FEATURE_TYPES.items()},
        LABEL_COLUMN: pa.dictionary(pa.int32(), pa.string()),
    }
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in types)
    query = statement(
        "SELECT {columns} FROM {table} ORDER BY row_id", columns=columns, table=sql.Identifier(schema, name)
    )
    return read_table(connection, query, types).unify_dictionaries().combine_chunks()


def _read_type(dtype: str) -> pa.DataType:
    return pa.dictionary(pa.int32(), pa.string()) if dtype == "text" else ARROW_TYPES[dtype]


def count_rows(connection: Connection[TupleRow], names: Sequence[str], schema: str = "public") -> Iterator[int]:
    """Count the rows of tables or views."""
    for name in names:
        row = connection.execute(
            statement("SELECT count(*) FROM {table}", table=sql.Identifier(schema, name))
        ).fetchone()
        yield int(row[0]) if row else 0


def cumulative_views(connection: Connection[TupleRow]) -> list[str]:
    """List the cumulative views that are current, in the order of their number."""
    query = "SELECT viewname FROM pg_views WHERE schemaname = 'public' AND viewname ~ '^train_cumulative_[0-9]+$'"
    names = [str(row[0]) for row in connection.execute(query)]
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))


def clean_build(services: Services, execution: str, batches: int, exclude_expired: bool = False) -> dict[str, int]:
    """Clean every raw table of a build, LANES clean tables in parallel.

    Args:
        services: where both databases are.
        execution: whose builds.
        batches: number of batch tables.
        exclude_expired: leave out encounters that ended in death or hospice.

    Returns:
        number of rows by clean table.
    """
    batch_tables: dict[str, int | None] = {f"batch_{number}": number for number in range(batches)}
    of_tables: list[dict[str, int | None]] = [batch_tables, {"validation_raw": None}, {"test_raw": None}]
    sources = dict(zip(CLEAN_TABLES, of_tables, strict=True))
    with ThreadPoolExecutor(LANES) as threads:
        rows = threads.map(
            lambda target: _clean_into(services, execution, target, sources[target], exclude_expired), sources
        )
        counts = dict(zip(sources, rows, strict=True))
    with connect(services.clean_url) as clean:
        create_clean_views(clean, execution, batches)
    return counts


def _clean_into(
    services: Services, execution: str, target: str, sources: dict[str, int | None], exclude_expired: bool
) -> int:
    """Clean raw tables into one clean table; return its number of rows."""
    with connect(services.raw_url) as raw, connect(services.clean_url) as clean:
        create_clean_table(clean, execution, target)
        return sum(
            clean_table(raw, clean, execution, source, target, batch, exclude_expired)
            for source, batch in sources.items()
        )
