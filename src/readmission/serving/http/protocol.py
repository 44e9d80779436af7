"""HTTP/1.1 as uvicorn speaks it, with a way past the application for plain predictions (``fast_lane``).

A request for a prediction is held back until it is complete; if the lane takes it, it never becomes an ASGI request,
else it goes on to become one. Whatever is out of the ordinary (pipelining, HTTP/1.0, bodies in chunks, a connection
that is to close, upgrades, a caller who does not read) is never held back.
"""

import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from readmission.serving.http.fast_path import FAST_LANE, FastLane, as_lines
from readmission.serving.http.request_headers import ADMITTED, PREDICT_PATH, Visit, read_visit

_PATH = PREDICT_PATH.encode()


class PredictionProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        arguments: uvicorn's; the application's state holds the lane, if there is one.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lane: FastLane | None = self.app_state.get(FAST_LANE)
        self._held: Visit | None = None
        self._body = b""
        self._start = 0.0
        self._waits = False

    def on_headers_complete(self) -> None:
        """Hold back a request that the lane may take."""
        if self._waits and self._lane is not None:  # the answer before it has to be written first
            self._lane.flush()
        if self._is_plain() and self._lane is not None:
            visit = read_visit(self.headers)
            if self._lane.may_take(visit):
                self._start = time.perf_counter()
                self._held, self._body = visit, b""
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather the body of a request that is held back."""
        if self._held is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Offer a request that is held back to the lane."""
        visit = self._held
        if visit is None or self._lane is None:
            super().on_message_complete()
            return
        if self._lane.admit(visit, self.client[0] if self.client else ""):
            self._waits = True
            if self._lane.offer(visit, self._body, self, self._start):
                self._held = None
                return
            self._waits = False
            self.scope["state"][ADMITTED] = visit.caller
        self._let_go()
        super().on_message_complete()

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Write the answer of the lane (``fast_lane.Caller``)."""
        self._waits = False
        if self.transport.is_closing():
            return
        start = STATUS_LINE[status] + as_lines(self.server_state.default_headers)
        self.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (start, headers, len(body), body))
        self.on_response_complete()

    def shutdown(self) -> None:
        """Answer what is under way, then close."""
        if self._waits and self._lane is not None:
            self._lane.flush()
        if self._held is not None:
            self._let_go()
        super().shutdown()

    def _is_plain(self) -> bool:
        return (
            self.url == _PATH
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and not self.expect_100_continue
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.root_path
        )

    def _let_go(self) -> None:
        """Make an ASGI request of what is held back."""
        self._held = None
        super().on_headers_complete()
        super().on_body(self._body)
