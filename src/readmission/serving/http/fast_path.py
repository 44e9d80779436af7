"""Plain predictions answered by the protocol itself, without ASGI: decoded, encoded, and scored with their neighbours.

A route of FastAPI costs four times what the prediction costs, and a task of its own as much again. Requests that the
server reads in one go are answered by one run of the model, without waiting for others. What is answered here and what
goes through the application (``routes``) use the same data plane and the same problems: an equal body gets an equal
answer.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from readmission.serving.http.access_log import FinishedRequest
from readmission.serving.http.encoding import prediction_json
from readmission.serving.http.limits import AccessControl
from readmission.serving.http.problems import ProblemError, failed, problem_answer, problem_of
from readmission.serving.http.request_headers import (
    PREDICT_PATH,
    SECURITY,
    Headers,
    RequestHeaders,
    response_headers,
)
from readmission.serving.http.request_metrics import RequestMetrics
from readmission.serving.inference.data_plane import DataPlane, EncodedRecord, LoggedPrediction
from readmission.serving.inference.errors import PredictionError, UnscorableError
from readmission.serving.telemetry.spans import SpanRecorder

FAST_PATH = "fast_path"
"""Its key in the state that the application's lifespan hands to the server."""

MAX_TOGETHER = 64
"""Records in one run of the model: the first must not wait for any number of others."""


class Connection(Protocol):
    """Where an answer is written."""

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Write it: headers as lines of HTTP, without the length."""


class _Waiting(NamedTuple):
    headers: RequestHeaders
    connection: Connection
    start: float


class FastPath:
    """Answers complete requests for one prediction.

    Args:
        plane: makes predictions.
        access: authorises callers.
        requests: records every request.
        max_body: largest body in bytes.
        spans: records traces; None: nobody does.
    """

    def __init__(
        self,
        plane: DataPlane,
        access: AccessControl,
        requests: RequestMetrics,
        max_body: int,
        spans: SpanRecorder | None = None,
    ) -> None:
        self._plane = plane
        self._access = access
        self._requests = requests
        self._max_body = max_body
        self._spans = spans
        self._waiting: list[tuple[_Waiting, EncodedRecord]] = []

    def accepts(self, headers: RequestHeaders) -> bool:
        """Whether a request for a prediction can be answered here, by its headers alone: once accepted, it is."""
        return (
            headers.is_json
            and 0 < headers.length <= self._max_body
            and not (headers.is_forwarded and self._access.needs_address)
        )

    def answer(self, headers: RequestHeaders, body: bytes, connection: Connection, address: str, start: float) -> None:
        """Answer a request: at once where there is no prediction, else together with those that were read with it.

        Args:
            headers: that were accepted.
            body: complete.
            connection: where the answer goes.
            address: network address of the caller.
            start: when the request began, of ``time.perf_counter``.
        """
        request = _Waiting(headers, connection, start)
        self._access.begin()
        try:
            headers.key_name = self._access.authorise(PREDICT_PATH, headers.api_key, address)
            record = self._plane.encode(body)
        except ProblemError as problem:
            self._refuse(request, problem)
        except PredictionError as error:
            self._refuse(request, problem_of(error))
        except Exception as error:  # noqa: BLE001 - whatever failed, the caller gets an answer and the connection lives
            self._refuse(request, failed(headers.request_id, error))
        else:
            self._wait(request, record)

    def _wait(self, request: _Waiting, record: EncodedRecord) -> None:
        self._waiting.append((request, record))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self.flush)
        elif len(self._waiting) == MAX_TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Answer all who wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            found = self._plane.score([record for _, record in waiting])
        except Exception as error:  # noqa: BLE001 - see ``answer``
            for request, _ in waiting:
                self._refuse(request, failed(request.headers.request_id, error))
            return
        self._succeed([(one, logged) for (one, _), logged in zip(waiting, found, strict=True) if logged is not None])
        for (request, _), logged in zip(waiting, found, strict=True):
            if logged is None:
                self._refuse(request, problem_of(UnscorableError()))

    def _succeed(self, answers: Sequence[tuple[_Waiting, LoggedPrediction]]) -> None:
        self._requests.succeeded(PREDICT_PATH, [self._answer(request, logged) for request, logged in answers])

    def _answer(self, request: _Waiting, logged: LoggedPrediction) -> FinishedRequest:
        prediction, number = logged
        ids = (request.headers.request_id.encode(), number.encode(), prediction.version.encode())
        request.connection.answer(200, _HEADERS % ids, prediction_json(prediction).encode())
        finished = self._finish(request, 200)
        if self._spans is not None:
            ids_of_answer = {"x-prediction-id": number, "x-model-version": prediction.version}
            self._spans.record(finished, request.headers.traceparent, ids_of_answer)
        return finished

    def _refuse(self, request: _Waiting, problem: ProblemError) -> None:
        self._requests.begin(PREDICT_PATH)
        status, headers, body = problem_answer(problem)
        request.connection.answer(status, to_lines([*headers, *response_headers(request.headers)]), body)
        finished = self._finish(request, status)
        self._requests.end(finished, problem.type.name)
        if self._spans is not None:
            self._spans.record(finished, request.headers.traceparent, {})

    def _finish(self, request: _Waiting, status: int) -> FinishedRequest:
        self._access.end()
        headers, seconds = request.headers, time.perf_counter() - request.start
        return FinishedRequest(time.time(), headers.request_id, headers.key_name, "POST", PREDICT_PATH, status, seconds)


def to_lines(headers: Headers) -> bytes:
    """Write headers as lines of HTTP."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


_HEADERS = (
    b"content-type: application/json\r\nx-request-id: %b\r\nx-prediction-id: %b\r\nx-model-version: %b\r\n"
    + to_lines(SECURITY)
)
