"""Open-loop load: requests are sent at planned times, whether or not the server keeps up, as by independent callers.

A generator that waits for a response before its next request sends less to a server that stalls, and so reports times
that are too short (coordinated omission). Here a response time starts when the request was due.
"""

import gc
import random
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from readmission.local.ports import LOOPBACK

_SEED = 11
_MOST_CONNECTIONS = 500
_PATIENCE = 5.0
_FRESH = 1.0
"""Idle seconds after which a connection is not used again, since servers close idle connections."""


@dataclass
class Times:
    """Result, in seconds.

    Attributes:
        answers: from when each request was due to the end of its response.
        late: from when each request was due to when it was sent, the delay of the generator.
        refused: responses with a status other than 200.
        seconds: from the first request to the last response.
    """

    answers: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0


class _Connection:
    """A connection with one request at a time."""

    def __init__(self, port: int) -> None:
        self.line = socket.create_connection((LOOPBACK, port), _PATIENCE)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.used = 0.0
        self._received = b""

    def fileno(self) -> int:
        """For ``select``."""
        return self.line.fileno()

    def ask(self, request: bytes, due: float) -> None:
        """Send a request."""
        self.due, self._received = due, b""
        self.line.sendall(request)

    def status(self) -> int | None:
        """Read available bytes; return the status once the response is complete.

        Raises:
            ConnectionError: the server hung up.
        """
        part = self.line.recv(1 << 16)
        if not part:
            raise ConnectionError("the server hung up")
        self._received += part
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return None
        return int(head[9:12])


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0])


def as_request(path: str, body: bytes) -> bytes:
    """Format an HTTP/1.1 request."""
    return b"POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        path.encode(),
        len(body),
        body,
    )


def plan(rate: float, seconds: float) -> Iterator[float]:
    """Times at which requests are due: a Poisson process with ``rate`` per second."""
    chance = random.Random(_SEED)
    due = 0.0
    while (due := due + chance.expovariate(rate)) < seconds:
        yield due


def ask(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Times:
    """Send requests at a rate.

    Raises:
        OSError: the server cannot be reached, or has hung up.
    """
    gc.disable()
    try:
        return _ask(port, cycle(requests), list(plan(rate, seconds)))
    finally:
        gc.enable()


def _ask(port: int, requests: Iterator[bytes], dues: Sequence[float]) -> Times:
    times = Times()
    idle: list[_Connection] = []
    busy: list[_Connection] = []
    start = time.perf_counter()
    sent = 0
    while sent < len(dues) or busy:
        now = time.perf_counter() - start
        while sent < len(dues) and dues[sent] <= now and len(busy) < _MOST_CONNECTIONS:
            connection = _take(idle, port, now)
            connection.ask(next(requests), dues[sent])
            busy.append(connection)
            now = time.perf_counter() - start
            times.late.append(now - dues[sent])
            sent += 1
        wait = max(dues[sent] - now, 0.0) if sent < len(dues) else _PATIENCE
        # select, unlike epoll, waits for microseconds.
        readable = select.select(busy, [], [], wait)[0]
        if not readable and sent == len(dues):
            raise TimeoutError("the server has stopped answering")
        for connection in readable:
            status = connection.status()
            if status is not None:
                connection.used = time.perf_counter() - start
                times.answers.append(connection.used - connection.due)
                times.refused += status != 200
                busy.remove(connection)
                idle.append(connection)
    times.seconds = time.perf_counter() - start
    for connection in idle:
        connection.line.close()
    return times


def _take(idle: list[_Connection], port: int, now: float) -> _Connection:
    """The last used connection, or a new one if that has been idle for too long."""
    if idle and idle[-1].used > now - _FRESH:
        return idle.pop()
    for connection in idle:
        connection.line.close()
    idle.clear()
    return _Connection(port)
