"""The database's side of the prediction log as a process of its own.

In a thread beside the event loop it took five times the processor's time: every wait for the database released the
interpreter lock and had to win it back from the requests (measured: 34 instead of 7 microseconds a prediction). So
records go through a socket, as MessagePack, to a child that formats and stores them. It keeps nothing: a record
that it has not confirmed is still the caller's.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import psycopg
from pydantic import SecretStr

from readmission.serving.prediction_log.records import BatchRecord, FeedbackRecord, LogRecord, PredictionRecord
from readmission.serving.prediction_log.sql import PATIENCE
from readmission.serving.prediction_log.store_messages import StoreAnswer, StoreRequest, receive, send

WAIT_SECONDS = 3 * PATIENCE
"""For an answer: longer than the child itself waits for a database that connects, makes tables and stores."""


class StoreProcess:
    """A ``prediction_store.PredictionStore`` in a child, started when needed and again after it has ended. One thread.

    Args:
        url: of platform_db.
    """

    def __init__(self, url: SecretStr) -> None:
        self._url = url
        self._child: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def write(self, records: Sequence[LogRecord]) -> None:
        """Store records, all or none.

        Raises:
            psycopg.Error: the database, or the child, is away or refuses.
        """
        self._ask(
            StoreRequest(
                predictions=[record for record in records if isinstance(record, PredictionRecord)],
                batches=[record for record in records if isinstance(record, BatchRecord)],
                feedback=[record for record in records if isinstance(record, FeedbackRecord)],
            )
        )

    def drop_old(self, days: int) -> int:
        """Delete predictions, and feedback, that are older; answer how many predictions.

        Raises:
            psycopg.Error: see ``write``.
        """
        return self._ask(StoreRequest(days=days))

    def close(self) -> None:
        """End the child."""
        if self._line is not None:
            self._line.close()  # which it takes as the end
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(WAIT_SECONDS)
            self._child.kill()
            self._child.wait()
        self._line = self._child = None

    def _ask(self, request: StoreRequest) -> int:
        try:
            line = self._line or self._start()
            send(line, request)
            answer = receive(line, StoreAnswer)
        except OSError:
            answer = None
        if answer is None:
            self._abandon()
            raise psycopg.OperationalError("the process that stores predictions has ended")
        if answer.error:
            kind = psycopg.DataError if answer.is_data else psycopg.OperationalError
            raise kind(answer.error)
        return answer.count

    def _start(self) -> socket.socket:
        self._abandon()
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "readmission.serving.prediction_log.store_worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        ours.settimeout(WAIT_SECONDS)
        self._line = ours
        # Not in its environment or on its command line, where others could read it.
        send(ours, self._url.get_secret_value())
        return ours

    def _abandon(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._line = self._child = None
