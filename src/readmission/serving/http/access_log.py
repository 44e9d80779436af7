"""The log of requests: one line of JSON each, written off the path of requests."""

import threading
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from typing import BinaryIO

import msgspec

PAUSE_SECONDS = 0.25
_MAX_WAITING = 50_000
"""Requests that wait to be written; where whoever reads the log is slower than that, the oldest are left out."""


class FinishedRequest(msgspec.Struct, gc=False):
    """A request that has been answered: what is logged of it.

    Attributes:
        at: when it was answered, seconds since 1970.
        request_id: as in the answer.
        caller: name of its API key, empty without one.
        method: of HTTP.
        path: without the query.
        status: of the answer.
        seconds: from its first line to the answer.
    """

    at: float
    request_id: str
    caller: str
    method: str
    path: str
    status: int
    seconds: float


class _Line(msgspec.Struct, gc=False):
    time: datetime
    level: str
    name: str
    message: str
    request_id: str
    caller: str
    method: str
    path: str
    status: int
    seconds: float


class AccessLog:
    """Collects requests; a thread writes them four times a second.

    Args:
        stream: where lines go.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: deque[FinishedRequest] = deque(maxlen=_MAX_WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="access log", daemon=True)
        self._encode_lines = msgspec.json.Encoder().encode_lines
        # A request only appends.
        self.add = self._waiting.append
        self.add_many = self._waiting.extend

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        requests = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if requests:
            self._stream.write(self._encode_lines(map(_line, requests)))
            self._stream.flush()


def _line(request: FinishedRequest) -> _Line:
    return _Line(
        datetime.fromtimestamp(request.at, UTC),
        "INFO" if request.status < 500 else "ERROR",
        __name__,
        _message(request.method, request.path, request.status),
        request.request_id,
        request.caller,
        request.method,
        request.path,
        request.status,
        round(request.seconds, 6),
    )


@lru_cache(maxsize=1_000)
def _message(method: str, path: str, status: int) -> str:
    return f"{method} {path} {status}"
