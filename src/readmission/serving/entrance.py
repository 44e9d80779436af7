"""The way in: every request gets an id, passes the gate and is measured; plain predictions are answered right here.

A FastAPI route costs four times what the prediction costs. So a prediction whose every value has been met before
(nearly all are) is answered by the fast lane; everything else, wrong bodies above all, goes on to the application,
which checks, explains and answers in full. Both lanes share the data plane, and the same body gets the same answer.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from readmission.serving.access_log import Request
from readmission.serving.admission import Gate
from readmission.serving.answers import prediction_json
from readmission.serving.errors import ProblemError, problem_answer, too_large
from readmission.serving.fast_lane import FastLane
from readmission.serving.ids import request_id
from readmission.serving.observer import Observer

PREDICT_PATH = "/predict"

Headers = list[tuple[bytes, bytes]]

_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""An id is written to logs and sent back: no spaces, no line ends."""

_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_JSON = (b"content-type", b"application/json")


@dataclass(slots=True)
class Visit:
    """What the way in has to know of a request.

    Attributes:
        request_id: the caller's, if it sent a safe one.
        key: API key, empty without one.
        is_json: whether the body says that it is JSON.
        length: bytes of the body as announced, 0 where nothing is.
        caller: name of its key, once it is let in with one.
    """

    request_id: str = ""
    key: str = ""
    is_json: bool = False
    length: int = 0
    caller: str = ""


class Entrance:
    """The outermost application.

    Args:
        app: the application inside.
        lane: answers plain predictions.
        gate: whom it lets in.
        observer: told of every request.
        limits: largest body in bytes by path; ``""`` is for all others.
    """

    def __init__(
        self,
        app: ASGIApp,
        lane: FastLane,
        gate: Gate,
        observer: Observer,
        limits: dict[str, int],
    ) -> None:
        self._app = app
        self._lane = lane
        self._gate = gate
        self._observer = observer
        self._limits = limits
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        path = scope["path"]
        visit = read_visit(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = visit.request_id
        self._observer.begins(path)
        status = 500
        self._under_way += 1
        try:
            status = await self._handle(scope, receive, send, visit)
        finally:
            self._under_way -= 1
            error_type = state.get("error_type", "internal") if status >= 400 else None
            seconds = time.perf_counter() - start
            request = Request(time.time(), visit.request_id, visit.caller, scope["method"], path, status, seconds)
            self._observer.ends(request, error_type)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> int:
        path = scope["path"]
        limit = self._limits.get(path) or self._limits[""]
        try:
            client = scope.get("client")
            visit.caller = self._gate.admit(path, visit.key, client[0] if client else "", self._under_way - 1)
            if visit.length > limit:
                raise too_large(limit)
            body = await read_body(receive, limit)
        except ProblemError as problem:
            return await _refuse(problem, scope, send, visit)
        if path == PREDICT_PATH and visit.is_json and scope["method"] == "POST":
            answer = self._lane.answer(body)
            if answer is not None:
                headers = [_JSON, *answer.headers]
                await _send(send, 200, headers, prediction_json(answer.answer).encode(), visit)
                return 200
        return await self._pass_on(scope, body, receive, send, visit)

    async def _pass_on(self, scope: Scope, body: bytes, receive: Receive, send: Send, visit: Visit) -> int:
        status = 500
        unread = True

        async def replay() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_own_headers(visit)]
            await send(message)

        await self._app(scope, replay, send_on)
        return status


def read_visit(headers: Iterable[tuple[bytes, bytes]]) -> Visit:
    """Read what matters of the headers, in one pass."""
    visit = Visit()
    for name, value in headers:
        if name == b"content-type":
            visit.is_json = value[:16] == b"application/json"
        elif name == b"content-length":
            visit.length = int(value) if value.isdigit() else 0
        elif name == b"x-api-key":
            visit.key = value.decode("latin-1")
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            visit.key = visit.key or value[7:].decode("latin-1")
        elif name == b"x-request-id":
            visit.request_id = value.decode("latin-1")
    if not (visit.request_id and _SAFE_ID.fullmatch(visit.request_id)):
        visit.request_id = request_id()
    return visit


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read the whole body.

    Raises:
        ProblemError: it is longer than ``limit`` (413).
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        return await _read_parts(receive, body, limit)
    if len(body) > limit:
        raise too_large(limit)
    return body


async def _read_parts(receive: Receive, first: bytes, limit: int) -> bytes:
    parts, size, more = [first], len(first), True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(parts[-1])
        if size > limit:
            raise too_large(limit)
    return b"".join(parts)


async def _refuse(problem: ProblemError, scope: Scope, send: Send, visit: Visit) -> int:
    status, headers, body = problem_answer(problem)
    scope["state"]["error_type"] = problem.kind.name
    await _send(send, status, headers, body, visit)
    return status


async def _send(send: Send, status: int, headers: Headers, body: bytes, visit: Visit) -> None:
    length = (b"content-length", b"%d" % len(body))
    everything = [*headers, length, *_own_headers(visit)]
    await send({"type": "http.response.start", "status": status, "headers": everything})
    await send({"type": "http.response.body", "body": body})


def _own_headers(visit: Visit) -> Headers:
    return [(b"x-request-id", visit.request_id.encode("ascii")), *_SECURITY]
