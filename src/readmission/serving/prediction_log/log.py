"""The prediction log, off the path of requests: a bounded queue, a thread that stores it, a spool on disk.

A request only appends to the queue. The thread takes what is there and copies it into the database; while the database
is away it writes to the spool instead, and empties that once the database is back. What cannot be kept anywhere,
because queue and spool are full, is counted as dropped.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import psycopg

from readmission.serving.prediction_log.records import BatchRecord, LogRecord, count_of
from readmission.serving.prediction_log.spool import Spool

PAUSE_SECONDS = 0.25
"""Between two looks at the queue: a batch of a few hundred rows costs hardly more than one row."""

BATCH = 2_000
RETRY_SECONDS = 2.0
CLEAN_SECONDS = 3_600.0

_NO_TABLE = psycopg.errors.UndefinedTable.__name__
"""Type of the error before the first migration; also the text of the error that ``store_process`` makes of it."""

_log = logging.getLogger(__name__)


class Store(Protocol):
    """Stores records; raises ``psycopg.Error`` where it cannot."""

    def write(self, records: Sequence[LogRecord]) -> None:
        """Store records, all or none."""

    def drop_old(self, days: int) -> int:
        """Delete what is older."""

    def close(self) -> None:
        """Close the connection."""


class Counts(Protocol):
    """The metrics of the log."""

    def logged(self, stored: int, dropped: int) -> None:
        """Count records that were stored, and that were dropped."""

    def waiting(self, queued: int, spooled: int, reachable: bool) -> None:
        """Record how many wait in the queue, how many bytes in the spool, and whether the database takes records."""


class PredictionLog:
    """Logs records; nothing here slows a request or fails it.

    Args:
        store: the database.
        spool: the disk.
        counts: the metrics.
        limit: records that may wait in the queue.
        keep_days: after which predictions are deleted; 0 keeps them.
    """

    def __init__(self, store: Store, spool: Spool, counts: Counts, limit: int, keep_days: int) -> None:
        self._store = store
        self._spool = spool
        self._counts = counts
        self._limit = limit
        self._keep_days = keep_days
        self._queue: deque[LogRecord] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction log", daemon=True)
        self._retry_at = 0.0
        self._clean_at = 0.0
        self._trouble: str | None = None

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def put(self, record: LogRecord) -> None:
        """Add a record; where the queue is full, it is dropped and counted."""
        if len(self._queue) >= self._limit:
            self._counts.logged(0, 1)
        else:
            self._queue.append(record)

    def put_batch(self, record: BatchRecord) -> None:
        """Add the predictions of a batch; they go to the spool, since no queue would hold them. Waits for the disk."""
        if not self._spool.add([record]):
            self._counts.logged(0, record.count)

    def stop(self) -> None:
        """Store or spool everything, then end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._empty_queue()
        self._store.close()

    def _work(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            self._empty_queue()
            if self._may_try():
                self._empty_spool()
                self._clean()
            self._counts.waiting(len(self._queue), self._spool.size(), self._trouble is None)

    def _empty_queue(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if not self._stored(batch) and not self._spool.add(batch):
                self._counts.logged(0, _count(batch))

    def _empty_spool(self) -> None:
        for path in self._spool.files():
            if self._stopping.is_set() or not self._may_try():
                return
            try:
                records = self._spool.read(path)
            except FileNotFoundError:  # another process has stored it
                continue
            if self._stored(records):
                self._spool.remove(path)

    def _may_try(self) -> bool:
        return time.monotonic() >= self._retry_at

    def _stored(self, records: Sequence[LogRecord]) -> bool:
        if not self._may_try():
            return False
        try:
            self._store.write(records)
        except psycopg.DataError:
            return self._store_one_by_one(records)
        except psycopg.Error as error:
            self._went_away(error)
            return False
        self._came_back()
        self._counts.logged(_count(records), 0)
        return True

    def _store_one_by_one(self, records: Sequence[LogRecord]) -> bool:
        """Store what the database takes: a record that it refuses is dropped, and must not keep the others out."""
        for number, record in enumerate(records):
            try:
                self._store.write([record])
            except psycopg.DataError:
                self._counts.logged(0, count_of(record))
            except psycopg.Error as error:
                self._went_away(error)
                return self._spool.add(records[number:])
            else:
                self._counts.logged(count_of(record), 0)
        return True

    def _clean(self) -> None:
        if not self._keep_days or time.monotonic() < self._clean_at:
            return
        try:
            self._store.drop_old(self._keep_days)
        except psycopg.Error as error:
            self._went_away(error)
        else:
            self._clean_at = time.monotonic() + CLEAN_SECONDS
            self._came_back()

    def _went_away(self, error: psycopg.Error) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        reason = _reason(error)
        if reason != self._trouble:  # also where a database that was down comes up without tables
            _log.warning("Predictions cannot be stored (%s); they wait on disk", reason)
        self._trouble = reason

    def _came_back(self) -> None:
        if self._trouble is not None:
            _log.info("Predictions are stored again")
        self._trouble = None


def _reason(error: psycopg.Error) -> str:
    """What is wrong; a database's own message may quote a row, so only the type of the error is repeated."""
    name = str(error) if str(error) == _NO_TABLE else type(error).__name__
    return "platform_db has no tables yet: run `readmission migrate`" if name == _NO_TABLE else name


def _count(records: Sequence[LogRecord]) -> int:
    return sum(map(count_of, records))
