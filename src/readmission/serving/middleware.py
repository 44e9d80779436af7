"""Around every request: its id, and for predictions the measurement."""

import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from readmission.serving.telemetry import Telemetry

REQUEST_ID = "X-Request-Id"

_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""An id is written to logs and sent back: no spaces, no line ends."""


class RequestContext:
    """Gives each request an id (the caller's, if it sent a safe one) and measures prediction endpoints.

    Args:
        app: the application inside.
        telemetry: where measurements go.
        measured: paths of the prediction endpoints.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, measured: frozenset[str]) -> None:
        self._app = app
        self._telemetry = telemetry
        self._measured = measured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        if scope["path"] not in self._measured:
            await self._app(scope, receive, send_with_id)
            return
        self._telemetry.started()
        start = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._finish(scope, status, time.perf_counter() - start)

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        error_type = scope["state"].get("error_type", "internal") if status >= 400 else None
        self._telemetry.finished(scope["path"], scope["method"], status, seconds, error_type)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
