"""Predictions whose every value has been met before: decoded, looked up, and scored together with their neighbours.

A route of FastAPI costs four times what the prediction costs, and a task of its own as much again. Nearly all requests
hold nothing new, so they take this lane: those that the server reads in one go are answered by one run of the model,
without waiting for others. What it does not take, wrong bodies above all, is left to the application, which checks,
explains and answers in full. Both share the data plane, and the same body gets the same answer.
"""

import asyncio
import logging
import time
from typing import Any, NamedTuple, Protocol

import msgspec

from readmission.schema import RECORD_COLUMNS
from readmission.serving.http.access_log import Request
from readmission.serving.http.encoding import prediction_json
from readmission.serving.http.limits import Gate
from readmission.serving.http.problems import ProblemError, internal, problem_answer, unscorable
from readmission.serving.http.request_headers import PREDICT_PATH, SECURITY, Headers, Visit, own_headers
from readmission.serving.http.request_metrics import Observer
from readmission.serving.inference.data_plane import DataPlane, Predicted, Prepared
from readmission.serving.inference.scorer import RUN_ERRORS

FAST_LANE = "fast_lane"
"""Name, in the state that the application's lifespan hands to the server."""

MOST_TOGETHER = 64
"""Records in one run of the model: the first must not wait for ever more."""

_log = logging.getLogger(__name__)

# float: 41.0 is the whole number 41, in JSON Schema too. Not bool: to Python, true is 1.
_Value = int | float | str | None

_Record: Any = msgspec.defstruct(
    "_Record",
    [(f"field_{place}", _Value, None) for place in range(len(RECORD_COLUMNS))],
    rename={f"field_{place}": column.name for place, column in enumerate(RECORD_COLUMNS)},
    forbid_unknown_fields=True,
    gc=False,
)
"""A record's fields in their order. Identifiers and the outcome are allowed in a body but not kept, and this lane keeps
the body as it is: they take the other."""


class _Body(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    features: _Record


class Caller(Protocol):
    """Who waits for an answer."""

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Take it: headers as lines of HTTP, but for the length."""


class _Waiting(NamedTuple):
    record: Prepared
    visit: Visit
    caller: Caller
    start: float


class FastLane:
    """Answers what it can.

    Args:
        plane: the logic.
        gate: whom it lets in.
        observer: told of every request.
        limit: largest body in bytes.
    """

    def __init__(self, plane: DataPlane, gate: Gate, observer: Observer, limit: int) -> None:
        self._plane = plane
        self._gate = gate
        self._observer = observer
        self._limit = limit
        self._decode = msgspec.json.Decoder(_Body).decode
        self._waiting: list[_Waiting] = []

    def may_take(self, visit: Visit) -> bool:
        """Tell by its headers whether a request for a prediction may be one of ours."""
        return visit.is_json and 0 < visit.length <= self._limit and not (visit.forwarded and self._gate.asks_address)

    def admit(self, visit: Visit, address: str) -> bool:
        """Let a caller in, or leave it to the application to refuse it."""
        self._gate.enter()
        try:
            visit.caller = self._gate.admit(PREDICT_PATH, visit.key, address)
        except ProblemError:
            self._gate.leave()
            return False
        return True

    def offer(self, visit: Visit, body: bytes, caller: Caller, start: float) -> bool:
        """Take a request that was admitted; False: the application has to look at it.

        Args:
            visit: its headers.
            body: complete.
            caller: is answered once everything that was read with it has been looked at.
            start: when it began, of ``time.perf_counter``.
        """
        record = self.prepare(body)
        if record is None:
            self._gate.leave()
            return False
        self._waiting.append(_Waiting(record, visit, caller, start))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self.flush)
        elif len(self._waiting) == MOST_TOGETHER:
            self.flush()
        return True

    def prepare(self, body: bytes) -> Prepared | None:
        """Read a body and look its record up; None: the application has to look at it."""
        try:
            record = self._decode(body).features
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return self._plane.prepare(msgspec.structs.astuple(record), body)

    def flush(self) -> None:
        """Answer all who wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            found = self._plane.finish([one.record for one in waiting])
        except RUN_ERRORS as error:  # nobody may be left waiting
            # The message may quote a record: only its kind is told.
            _log.error("Predictions failed (%s)", type(error).__name__)
            self._refuse(waiting, internal())
            return
        answered = [
            self._answer(one, predicted) for one, predicted in zip(waiting, found, strict=True) if predicted is not None
        ]
        self._observer.answered(PREDICT_PATH, answered)
        self._refuse([one for one, predicted in zip(waiting, found, strict=True) if predicted is None], unscorable())

    def _answer(self, one: _Waiting, predicted: Predicted) -> Request:
        number, version = predicted.prediction_id, predicted.answer.version
        headers = _HEADERS % (one.visit.request_id.encode(), number.encode(), version.encode())
        one.caller.answer(200, headers, prediction_json(predicted.answer).encode())
        return self._ended(one, 200)

    def _refuse(self, waiting: list[_Waiting], problem: ProblemError) -> None:
        for one in waiting:
            self._observer.begins(PREDICT_PATH)
            status, headers, body = problem_answer(problem)
            one.caller.answer(status, as_lines([*headers, *own_headers(one.visit)]), body)
            self._observer.ends(self._ended(one, status), problem.kind.name)

    def _ended(self, one: _Waiting, status: int) -> Request:
        self._gate.leave()
        visit, seconds = one.visit, time.perf_counter() - one.start
        return Request(time.time(), visit.request_id, visit.caller, "POST", PREDICT_PATH, status, seconds)


def as_lines(headers: Headers) -> bytes:
    """Write headers as lines of HTTP."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


_HEADERS = (
    b"content-type: application/json\r\nx-request-id: %b\r\nx-prediction-id: %b\r\nx-model-version: %b\r\n"
    + as_lines(SECURITY)
)
