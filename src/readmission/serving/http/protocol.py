"""HTTP/1.1 as uvicorn speaks it, with a way past the application for plain predictions (``fast_path``).

A request for a prediction that the fast path accepts by its headers is held back until its body is complete, and is
answered by the fast path, whatever the body holds. Every other request is an ASGI request from its first byte on. What
is out of the ordinary (pipelining, HTTP/1.0, bodies in chunks, a connection that is to close, upgrades, a caller who
does not read) is never held back.
"""

import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from readmission.serving.http.fast_path import FAST_PATH, FastPath, to_lines
from readmission.serving.http.request_headers import PREDICT_PATH, RequestHeaders, read_request_headers

_PATH = PREDICT_PATH.encode()


class PredictionProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        arguments: uvicorn's; the application's state holds the fast path, if there is one.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._fast_path: FastPath | None = self.app_state.get(FAST_PATH)
        self._held: RequestHeaders | None = None
        self._body = b""
        self._start = 0.0
        self._is_waiting = False
        self._is_ending = False

    def on_headers_complete(self) -> None:
        """Hold back a request that the fast path accepts."""
        if self._is_waiting and self._fast_path is not None:  # the answer before it has to be written first
            self._fast_path.flush()
        if self._fast_path is not None and self._is_plain():
            headers = read_request_headers(self.headers)
            if self._fast_path.accepts(headers):
                self._start = time.perf_counter()
                self._held, self._body = headers, b""
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather the body of a request that is held back."""
        if self._held is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Have a request that is held back answered."""
        headers, self._held = self._held, None
        if headers is None or self._fast_path is None:
            super().on_message_complete()
            return
        self._is_waiting = True
        body, self._body = self._body, b""
        self._fast_path.answer(headers, body, self, self.client[0] if self.client else "", self._start)

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Write the answer of the fast path (``fast_path.Connection``)."""
        self._is_waiting = False
        if self.transport.is_closing():
            return
        start = STATUS_LINE[status] + to_lines(self.server_state.default_headers)
        end = b"connection: close\r\n" if self._is_ending else b""
        self.transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (start, headers, end, len(body), body))
        if self._is_ending:
            self.transport.close()
        self.on_response_complete()

    def shutdown(self) -> None:
        """Answer what is under way, then close."""
        if self._is_waiting and self._fast_path is not None:
            self._is_ending = True
            self._fast_path.flush()
        elif self._held is not None:  # the rest of its body is still to come
            self._is_ending = True
        else:
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
