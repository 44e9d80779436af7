"""Questions to services that start: one client for all, and for plain HTTP only."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from command_line import closed_port
from readmission.local import http_probe


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


def test_no_proxy_is_asked_and_a_server_that_was_started_anew_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    port = closed_port()
    for _ in range(2):
        with ThreadingHTTPServer(("127.0.0.1", port), Answer) as server:
            threading.Thread(target=server.serve_forever).start()
            assert http_probe.get(f"http://127.0.0.1:{port}/", 5).status_code == 204
            server.shutdown()
    with pytest.raises(httpx.HTTPError):
        http_probe.get(f"http://127.0.0.1:{port}/", 5)


def test_what_needs_certificates_is_refused() -> None:
    with pytest.raises(ValueError, match="not plain HTTP"):
        http_probe.get("https://127.0.0.1:1/", 1)
