"""The way in to the application: every request gets an id, passes the gate and is measured.

Plain predictions do not come this far, see ``fast_lane``.
"""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from readmission.serving.http.access_log import Request
from readmission.serving.http.limits import Gate
from readmission.serving.http.problems import ProblemError, problem_answer, too_large
from readmission.serving.http.request_headers import ADMITTED, Headers, Visit, own_headers, read_visit
from readmission.serving.http.request_metrics import Observer


class Entrance:
    """The outermost application.

    Args:
        app: the application inside.
        gate: whom it lets in.
        observer: told of every request.
        limits: largest body in bytes by path; ``""`` is for all others.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        observer: Observer,
        limits: dict[str, int],
    ) -> None:
        self._app = app
        self._gate = gate
        self._observer = observer
        self._limits = limits

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
        self._gate.enter()
        try:
            status = await self._handle(scope, receive, send, visit)
        finally:
            self._gate.leave()
            error_type = state.get("error_type", "internal") if status >= 400 else None
            seconds = time.perf_counter() - start
            request = Request(time.time(), visit.request_id, visit.caller, scope["method"], path, status, seconds)
            self._observer.ends(request, error_type)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> int:
        path = scope["path"]
        limit = self._limits.get(path) or self._limits[""]
        try:
            visit.caller = self._admit(scope, visit)
            if visit.length > limit:
                raise too_large(limit)
            body = await read_body(receive, limit)
        except ProblemError as problem:
            return await _refuse(problem, scope, send, visit)
        return await self._pass_on(scope, body, receive, send, visit)

    def _admit(self, scope: Scope, visit: Visit) -> str:
        admitted: str | None = scope["state"].pop(ADMITTED, None)
        if admitted is not None:
            return admitted
        client = scope.get("client")
        return self._gate.admit(scope["path"], visit.key, client[0] if client else "")

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
                message["headers"] = [*message["headers"], *own_headers(visit)]
            await send(message)

        await self._app(scope, replay, send_on)
        return status


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
    everything = [*headers, length, *own_headers(visit)]
    await send({"type": "http.response.start", "status": status, "headers": everything})
    await send({"type": "http.response.body", "body": body})
