"""Callers that ask the API for predictions at a steady rate until they are stopped."""

import http.client
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE = 10.0
"""Seconds after which a caller has lost its patience: that is a failure."""

LEAST_RATE = 200.0
_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What a caller got.

    Attributes:
        at: when, on the clock of ``time.monotonic``.
        seconds: that it took.
    """

    status: int
    version: str
    prediction_id: str
    at: float
    seconds: float


class Load:
    """A context manager: load inside of it.

    Args:
        url: of the API.
        body: of every request.
        rate: requests per second of all callers together.
        callers: threads, each on one connection that stays open.
    """

    def __init__(self, url: str, body: str, rate: float = 300.0, callers: int = 4) -> None:
        self.answers: list[Answer] = []
        self.failures: list[Exception] = []
        self._address = urlsplit(url).netloc
        self._body = body.encode()
        self._pause = callers / rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        self._started = self._ended = 0.0

    def __enter__(self) -> "Load":
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._ended = time.monotonic()

    @property
    def rate(self) -> float:
        """Answers per second, once it has ended."""
        return len(self.answers) / (self._ended - self._started)

    @property
    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    @property
    def versions(self) -> set[str]:
        return {answer.version for answer in self.answers}

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more requests were answered, or one failed."""
        wanted = len(self.answers) + count
        while len(self.answers) < wanted and not self.failures:
            time.sleep(0.01)

    def check(self) -> None:
        """Fail unless every request was answered with a prediction."""
        assert self.failures == []
        assert self.statuses == {200}

    def check_rate(self) -> None:
        """Fail unless the callers got their answers at about the rate that they wanted; only where they are alone."""
        assert self.rate >= LEAST_RATE

    def _call(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE)
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                self.answers.append(self._ask(connection))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                return
            # A slow answer is made up for: the rate holds on average.
            due += self._pause
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> Answer:
        started = time.monotonic()
        connection.request("POST", "/predict", self._body, _HEADERS)
        answer = connection.getresponse()
        answer.read()
        now = time.monotonic()
        headers = answer.headers
        return Answer(
            answer.status, headers.get("X-Model-Version", ""), headers.get("X-Prediction-Id", ""), now, now - started
        )
