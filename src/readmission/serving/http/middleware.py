"""The outermost part of the application: every request gets an id, is authorised, bounded and recorded.

Plain predictions do not come this far, see ``fast_path``.
"""

import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from readmission.serving.http.access_log import FinishedRequest
from readmission.serving.http.limits import AccessControl
from readmission.serving.http.problems import ProblemError, problem_answer, too_large
from readmission.serving.http.request_headers import RequestHeaders, read_request_headers, response_headers
from readmission.serving.http.request_metrics import RequestMetrics


class RequestMiddleware:
    """The outermost application.

    Args:
        app: the application inside.
        access: authorises callers.
        requests: records every request.
        max_body: largest body in bytes by path; ``""`` is for all others.
    """

    def __init__(
        self, app: ASGIApp, access: AccessControl, requests: RequestMetrics, max_body: Mapping[str, int]
    ) -> None:
        self._app = app
        self._access = access
        self._requests = requests
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        path = scope["path"]
        headers = read_request_headers(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = headers.request_id
        self._requests.begin(path)
        status = 500
        self._access.begin()
        try:
            status = await self._handle(scope, receive, send, headers)
        finally:
            self._access.end()
            error_type = state.get("error_type", "internal") if status >= 400 else None
            seconds = time.perf_counter() - start
            ids = (headers.request_id, headers.key_name)
            self._requests.end(FinishedRequest(time.time(), *ids, scope["method"], path, status, seconds), error_type)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, headers: RequestHeaders) -> int:
        path, client = scope["path"], scope.get("client")
        limit = self._max_body.get(path) or self._max_body[""]
        try:
            headers.key_name = self._access.authorise(path, headers.api_key, client[0] if client else "")
            if headers.length > limit:
                raise too_large(limit)
            body = await read_body(receive, limit)
        except ProblemError as problem:
            return await _refuse(problem, scope, send, headers)
        return await self._pass_on(scope, body, receive, send, headers)

    async def _pass_on(self, scope: Scope, body: bytes, receive: Receive, send: Send, headers: RequestHeaders) -> int:
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
                message["headers"] = [*message["headers"], *response_headers(headers)]
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


async def _refuse(problem: ProblemError, scope: Scope, send: Send, request: RequestHeaders) -> int:
    status, headers, body = problem_answer(problem)
    scope["state"]["error_type"] = problem.type.name
    length = (b"content-length", b"%d" % len(body))
    everything = [*headers, length, *response_headers(request)]
    await send({"type": "http.response.start", "status": status, "headers": everything})
    await send({"type": "http.response.body", "body": body})
    return status
