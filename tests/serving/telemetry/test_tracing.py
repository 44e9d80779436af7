"""Traces, received by a collector that speaks OTLP over HTTP."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from running_api import NOWHERE, put_in_cache
from serving_bundle import MadeBundle

import plain_http
from api_process import api_process
from documented import FULL_BODY

JSON = {"Content-Type": "application/json"}
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""A traceparent of W3C Trace Context."""


class Collector:
    """What arrived."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.port = 0

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def home(tmp_path: Path, tree_bundle: MadeBundle) -> Path:
    put_in_cache(tmp_path, tree_bundle.folder, "3")
    return tmp_path


def attributes(span: Span) -> dict[str, str]:
    return {item.key: str(item.value) for item in span.attributes}


def traced(
    home: Path, paths: Sequence[str], headers: dict[str, str], **settings: str
) -> tuple[list[httpx.Response], Collector]:
    """Post the documented request to each path; what was answered, and what arrived."""
    with collecting() as collector:
        address = f"http://127.0.0.1:{collector.port}"
        with api_process(home, mlflow_url=NOWHERE, otlp_endpoint=address, **settings) as api:
            answers = [
                plain_http.post(f"{api.url}{path}", content=FULL_BODY, headers={**JSON, **headers}) for path in paths
            ]
            plain_http.get(f"{api.url}/health")
            api.stop()  # what is not sent yet is sent then
    return answers, collector


def test_requests_become_spans_below_their_callers(home: Path) -> None:
    """Those of the fast path, and those of the application, which a query makes of them."""
    answers, collector = traced(home, ["/predict", "/predict?a=1"], {"traceparent": CALLER})
    resource = {
        item.key: item.value.string_value for item in collector.requests[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "readmission-api"
    spans = [span for span in collector.spans() if "predict" in span.name]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(spans) == len(answers)
    for answer, span in zip(answers, sorted(spans, key=lambda span: span.start_time_unix_nano), strict=True):
        assert span.name == "POST /predict"
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (CALLER.split("-")[1], CALLER.split("-")[2])
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 5e9
        found = attributes(span)
        for header in ("X-Request-Id", "X-Prediction-Id", "X-Model-Version"):
            assert answer.headers[header] in found[f"http.response.header.{header.lower().replace('-', '_')}"]
        assert ("200" in found["http.status_code"], "POST" in found["http.method"]) == (True, True)
        assert not any("Caucasian" in value for value in found.values())
    assert not [span for span in collector.spans() if "health" in span.name]


def test_only_a_share_of_requests_is_traced(home: Path) -> None:
    paths = ["/predict"] * 20 + ["/predict?a=1"] * 20
    answers, collector = traced(home, paths, {}, trace_sample_ratio="0")
    assert [answer.status_code for answer in answers] == [200] * 40
    assert collector.spans() == []
    _, collector = traced(home, ["/predict", "/predict?a=1"], {"traceparent": CALLER}, trace_sample_ratio="0")
    assert len(collector.spans()) == 2  # their caller has decided


def test_a_collector_that_is_away_costs_no_answer(home: Path) -> None:
    with api_process(home, mlflow_url=NOWHERE, otlp_endpoint=NOWHERE) as api:
        for _ in range(20):
            answer = plain_http.post(f"{api.url}/predict", content=FULL_BODY, headers=JSON)
            assert answer.status_code == 200
        started = time.monotonic()
        assert api.stop() in (0, -15)
        assert time.monotonic() - started < 30
