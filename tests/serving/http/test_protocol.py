"""The way past the application, over real connections: order, completeness, the same answers and headers."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_api import NOWHERE, calling, put_in_cache
from serving_bundle import MadeBundle, records
from starlette.types import ASGIApp
from test_predict_api import JSON, as_json, problem

from api_process import api_process
from readmission.serving.app import create_app
from readmission.serving.http import fast_path
from readmission.serving.inference.scorer import Scorer
from readmission.settings import Settings

PLAIN = b'{"features":{"time_in_hospital":3}}'


def request(body: bytes, *headers: bytes, path: bytes = b"/predict", version: bytes = b"1.1") -> bytes:
    lines = [
        b"POST %b HTTP/%b" % (path, version),
        b"Host: test",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join([*lines, *headers, b"", body])


def for_application(*headers: bytes) -> bytes:
    """The same request as ``request(PLAIN)``, which its query keeps from the fast path."""
    return request(PLAIN, *headers, path=b"/predict?a=1")


KINDS = {
    "plain": partial(request, PLAIN),
    "asgi": for_application,
    "wrong": partial(request, b'{"features":'),
}


class Line:
    """One connection, byte by byte."""

    def __init__(self, url: str) -> None:
        address = httpx.URL(url)
        self.socket = socket.create_connection((address.host, address.port or 0), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.05)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = self._read.readline()
        headers = {}
        while (line := self._read.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            assert name not in headers
            headers[name] = value
        return int(status.split()[1]), headers, self._read.read(int(headers.get("content-length", 0)))

    def is_closed(self) -> bool:
        return self._read.read(1) == b""

    def close(self) -> None:
        self._read.close()
        self.socket.close()


@contextmanager
def connected(client: httpx.Client) -> Iterator[Line]:
    with closing(Line(str(client.base_url))) as line:
        yield line


class Spy:
    """Counts what reaches the application."""

    seen = 0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        Spy.seen += scope["type"] == "http"
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def client(tree_bundle: MadeBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("spied")
    put_in_cache(home, tree_bundle.folder, "7")
    app = create_app(Settings(home=home, mlflow_url=NOWHERE, model_poll_seconds=3600, prediction_log=False))
    with calling(Spy(app)) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (request(PLAIN), True),
        (request(PLAIN, b"X-Forwarded-For: 10.0.0.1"), True),
        (request(b'{"features":{"encounter_id":1,"race":"Martian"}}'), True),
        (request(b'{"features":'), True),
        (request(b'{"features":{"race":1}}'), True),
        (request(PLAIN, path=b"/predict?a=1"), False),
        (request(PLAIN, b"Connection: close"), False),
        (request(PLAIN, version=b"1.0"), False),
        (request(PLAIN, b"Expect: 100-continue"), False),
        (request(PLAIN, b"Connection: Upgrade", b"Upgrade: h2c"), False),
        (request(b""), False),
        (request(PLAIN).replace(b"application/json", b"text/json"), False),
        (request(PLAIN).replace(b"POST", b"PUT"), False),
        (
            request(PLAIN).replace(b"Content-Length: %d" % len(PLAIN), b"Transfer-Encoding: chunked")[: -len(PLAIN)]
            + b"%x\r\n%b\r\n0\r\n\r\n" % (len(PLAIN), PLAIN),
            False,
        ),
    ],
)
def test_only_plain_requests_are_held_back(client: httpx.Client, text: bytes, taken: bool) -> None:
    before = Spy.seen
    with connected(client) as line:
        line.send(text)
        status, _, _ = line.answer()
    assert status in (100, 200, 405, 415, 422, 400)
    assert (Spy.seen == before) is taken


def test_either_way_the_answer_looks_the_same(client: httpx.Client) -> None:
    with connected(client) as line:
        line.send(request(PLAIN, b"X-Request-ID: mine"))
        status, headers, body = line.answer()
        line.send(for_application(b"X-Request-ID: mine"))
        other_status, others, other_body = line.answer()
    assert (other_status, other_body) == (status, body)
    changing = {"x-prediction-id", "date"}
    assert headers.keys() == others.keys() >= changing
    assert {name: headers[name] for name in headers.keys() - changing} == {
        name: others[name] for name in others.keys() - changing
    }
    assert headers["x-request-id"] == "mine"
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", headers["x-prediction-id"])


def test_requests_in_one_go_are_answered_in_their_order(client: httpx.Client) -> None:
    """Plain ones, wrong ones and some for the application, all sent before the first answer is read."""
    kinds = "plain asgi plain plain wrong plain asgi asgi plain"
    texts = [KINDS[kind](b"X-Request-ID: n%d" % place) for place, kind in enumerate(kinds.split())]
    with connected(client) as line:
        line.send(b"".join(texts))
        answers = [line.answer() for _ in texts]
    assert [headers["x-request-id"] for _, headers, _ in answers] == [f"n{place}" for place in range(len(texts))]
    assert [status for status, _, _ in answers] == [200, 200, 200, 200, 400, 200, 200, 200, 200]
    assert len({body for status, _, body in answers if status == 200}) == 1


def test_more_than_run_together_are_answered_in_their_order(client: httpx.Client) -> None:
    count = 3 * fast_path.MAX_TOGETHER + 5
    with connected(client) as line:
        line.send(b"".join(request(PLAIN, b"X-Request-ID: n%d" % place) for place in range(count)))
        assert [line.answer()[1]["x-request-id"] for _ in range(count)] == [f"n{place}" for place in range(count)]


def test_a_request_may_come_in_pieces(client: httpx.Client) -> None:
    text = request(PLAIN)
    before = Spy.seen
    with connected(client) as line:
        for cut in (10, len(text) - len(PLAIN), len(text) - 5):
            line.send(text[:cut], text[cut:])
            assert line.answer()[0] == 200
    assert Spy.seen == before


def test_a_caller_may_leave_before_its_answer(client: httpx.Client) -> None:
    for text in (request(PLAIN)[:-3], request(PLAIN)):
        for _ in range(20):
            with connected(client) as line:
                line.send(text)
    with connected(client) as line:
        line.send(request(PLAIN))
        assert line.answer()[0] == 200
    assert "predict_requests_in_progress 0.0" in client.get("/metrics").text


def test_many_connections_at_once_get_their_own_answers(client: httpx.Client) -> None:
    """What one connection is answered does not depend on what is scored with it."""
    rows = [{"features": as_json(row)} for row in records(60, seed=44)]
    expected = [client.post("/predict", json=row).text for row in rows]
    lines = [Line(str(client.base_url)) for _ in rows]
    before = Spy.seen
    for _ in range(5):
        for line, row in zip(lines, rows, strict=True):
            line.send(request(json.dumps(row).encode()))
        assert [line.answer()[2].decode() for line in lines] == expected
    for line in lines:
        line.close()
    assert Spy.seen == before


def test_both_ways_are_counted_alike(client: httpx.Client) -> None:
    def counted() -> float:
        series = 'predict_requests_total{endpoint="/predict",method="POST",model_version="7",status="200"} '
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.removeprefix(series)) for line in lines if line.startswith(series))

    before = counted()
    for path in ("/predict", "/predict?a=1", "/predict"):
        assert client.post(path, content=PLAIN, headers=JSON).status_code == 200
    assert counted() == before + 3


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"features":{"race":1,"x":2}}', b'{"features":{},"y":1}'])
def test_both_ways_refuse_alike(client: httpx.Client, body: bytes) -> None:
    one, other = (client.post(path, content=body, headers=JSON) for path in ("/predict", "/predict?a=1"))
    assert (one.status_code, one.content) == (other.status_code, other.content)
    assert one.status_code in (400, 422)
    changing = {"date", "x-request-id"}
    assert {name: one.headers[name] for name in one.headers.keys() - changing} == {
        name: other.headers[name] for name in other.headers.keys() - changing
    }


@pytest.mark.parametrize("broken", ["none", "error"])
def test_nobody_waits_for_a_model_that_fails(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(self: Scorer, rows: Any) -> list[None]:
        if broken == "error":
            raise RuntimeError("a value of a patient")
        return [None] * len(rows)

    monkeypatch.setattr(Scorer, "score_rows", fail)
    answer = client.post("/predict", content=PLAIN, headers=JSON)
    kind, status = ("internal", 500) if broken == "error" else ("unscorable", 422)
    assert problem(answer, status)["type"].endswith(f":{kind}")
    assert answer.headers["X-Request-ID"]
    monkeypatch.undo()
    assert client.post("/predict", content=PLAIN, headers=JSON).status_code == 200
    text = client.get("/metrics").text
    assert f'predict_errors_total{{error_type="{kind}",model_version="7"}} 1.0' in text


def test_an_idle_connection_is_closed_in_the_end(tree_bundle: MadeBundle, tmp_path: Path) -> None:
    """As uvicorn does after five seconds."""
    put_in_cache(tmp_path, tree_bundle.folder)
    app = create_app(Settings(home=tmp_path, mlflow_url=NOWHERE, prediction_log=False))
    with calling(app) as client, connected(client) as line:
        line.send(request(PLAIN))
        assert line.answer()[0] == 200
        started = time.monotonic()
        assert line.is_closed()
        assert 3 < time.monotonic() - started < 20


def test_the_end_of_the_server_cuts_no_request_off(tree_bundle: MadeBundle, tmp_path: Path) -> None:
    """Half a request has arrived when the server is told to end; the other half still gets its answer."""
    put_in_cache(tmp_path, tree_bundle.folder)
    with (
        api_process(tmp_path, mlflow_url=NOWHERE, prediction_log="false") as api,
        closing(Line(api.url)) as half,
        closing(Line(api.url)) as idle,
    ):
        for line in (half, idle):
            line.send(request(PLAIN))
            assert line.answer()[0] == 200
        text = request(PLAIN)
        half.send(text[:-5])
        time.sleep(0.2)
        api.process.terminate()
        assert idle.is_closed()
        half.send(text[-5:])
        status, headers, _ = half.answer()
        assert status == 200
        assert headers["connection"] == "close"
        assert half.is_closed()
        api.process.wait(10)
