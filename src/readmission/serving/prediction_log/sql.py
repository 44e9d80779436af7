"""Predictions and feedback in platform_db: COPY in, duplicates ignored, old rows dropped."""

import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.schema import LABELS, RECORD_COLUMNS, Column
from readmission.serving.prediction_log.records import BatchRecord, FeedbackRecord, LogRecord, PredictionRecord

PATIENCE = 4.0
"""Seconds that a write may take: a frozen database answers nothing, not even an error, while the queue grows."""

_CONNECT_SECONDS = 3


class _Way(NamedTuple):
    """How records of one kind are stored: COPY into a temporary table, and INSERT from there."""

    table: str
    columns: str
    copy: str
    merge: str


def _member(column: Column) -> str:
    """A member of ``jsonb_build_object``: the value that the column's code names. Its list is read once per batch."""
    values = f"ARRAY(SELECT jsonb_array_elements(%(levels)s::jsonb -> '{column.name}'))"
    return f"'{column.name}', ({values})[\"{column.name}\"]"


_CODES = ", ".join(f'"{column.name}" smallint' for column in RECORD_COLUMNS)
_RECORD_JSON = f"jsonb_strip_nulls(jsonb_build_object({', '.join(map(_member, RECORD_COLUMNS))}))"
_LABELS = ", ".join(f"'{label}'" for label in LABELS)
_PREDICTIONS = _Way(
    "incoming_predictions",
    "id uuid, at double precision, model_version text, record jsonb, probabilities double precision[],"
    " readmission_class text",
    "COPY incoming_predictions FROM STDIN",
    "INSERT INTO predictions SELECT id, to_timestamp(at), model_version, record -> 'features', probabilities,"
    " readmission_class FROM incoming_predictions ON CONFLICT (id) DO NOTHING",
)
_BATCHES = _Way(
    "incoming_batch",
    f"id uuid, first double precision, second double precision, third double precision, label smallint, {_CODES}",
    "COPY incoming_batch FROM STDIN (FORMAT binary)",
    f"INSERT INTO predictions SELECT id, to_timestamp(%(at)s), %(version)s, {_RECORD_JSON},"  # noqa: S608 - the schema's
    f" ARRAY[first, second, third], (ARRAY[{_LABELS}])[label] FROM incoming_batch ON CONFLICT (id) DO NOTHING",
)
_FEEDBACK = _Way(
    "incoming_feedback",
    "prediction_id uuid, at double precision, readmitted text",
    "COPY incoming_feedback FROM STDIN",
    "INSERT INTO feedback SELECT DISTINCT ON (prediction_id) prediction_id, to_timestamp(at), readmitted"
    " FROM incoming_feedback ORDER BY prediction_id, at DESC"
    " ON CONFLICT (prediction_id) DO UPDATE SET at = EXCLUDED.at, readmitted = EXCLUDED.readmitted"
    " WHERE feedback.at < EXCLUDED.at",
)
_BINARY_START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_BINARY_END = b"\xff\xff"
"""Around rows in the binary form of COPY (PostgreSQL's manual, COPY, "Binary Format")."""

_BLANKS = bytes.maketrans(b"\n\r\t", b"   ")


class PredictionStore:
    """One connection, made when needed and again after a failure. For one thread.

    Args:
        url: of platform_db.
    """

    def __init__(self, url: SecretStr) -> None:
        self._url = url
        self._connection: Connection[TupleRow] | None = None

    def write(self, records: Sequence[LogRecord]) -> None:
        """Store records, all or none; those that are stored already stay as they are.

        Raises:
            psycopg.Error: the database is away, frozen or refuses.
        """
        predictions = b"".join([_line(record) for record in records if isinstance(record, PredictionRecord)])
        batches = [record for record in records if isinstance(record, BatchRecord)]
        feedback = b"".join([_feedback_line(record) for record in records if isinstance(record, FeedbackRecord)])
        with self._transaction() as connection, connection.cursor() as cursor:
            if predictions:
                _bring_in(cursor, _PREDICTIONS, predictions)
            for record in batches:
                common = {"at": record.at, "version": record.version, "levels": record.levels.decode()}
                _bring_in(cursor, _BATCHES, _BINARY_START + record.rows + _BINARY_END, common)
            if feedback:
                _bring_in(cursor, _FEEDBACK, feedback)

    def drop_old(self, days: int) -> int:
        """Delete predictions, and feedback, that are older; answer how many predictions.

        Raises:
            psycopg.Error: see ``write``.
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM feedback WHERE at < now() - make_interval(days => %s)", [days])
            dropped = connection.execute("DELETE FROM predictions WHERE at < now() - make_interval(days => %s)", [days])
            return dropped.rowcount

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[Connection[TupleRow]]:
        try:
            connection = self._connected()
            with _deadline(connection), connection.transaction():
                yield connection
        except psycopg.DataError:  # the connection is well
            raise
        except psycopg.Error:
            self.close()
            raise

    def _connected(self) -> Connection[TupleRow]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._url.get_secret_value(),
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                application_name="readmission api",
                options="-c lock_timeout=5s",
            )
        return self._connection


@contextmanager
def _deadline(connection: Connection[TupleRow]) -> Iterator[None]:
    """Break the connection if the block takes too long; what waits for it then fails."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        timer = threading.Timer(PATIENCE, _break, [line])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _break(line: socket.socket) -> None:
    with suppress(OSError):  # it has ended meanwhile
        line.shutdown(socket.SHUT_RDWR)


def _line(record: PredictionRecord) -> bytes:
    # Line ends and tabs are between the members of a record, never within: there JSON writes them otherwise.
    body = record.body.translate(_BLANKS).replace(b"\\", b"\\\\")
    no, after, within = record.probabilities
    start = f"{record.id}\t{record.at!r}\t{record.version}\t"
    end = f"\t{{{no!r},{after!r},{within!r}}}\t{record.label}\n"
    return b"%b%b%b" % (start.encode(), body, end.encode())


def _feedback_line(record: FeedbackRecord) -> bytes:
    return f"{record.prediction_id}\t{record.at!r}\t{record.readmitted}\n".encode()


def _bring_in(cursor: Cursor[TupleRow], way: _Way, rows: bytes, common: Mapping[str, object] | None = None) -> None:
    cursor.execute(f"CREATE TEMP TABLE {way.table} ({way.columns})")
    with cursor.copy(way.copy) as copy:
        copy.write(rows)
    cursor.execute(way.merge, common)
    cursor.execute(f"DROP TABLE {way.table}")
