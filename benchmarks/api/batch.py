"""Batches: rows per second of one core, as CSV and as JSON."""

import http.client
import json
import sys
import time

from benchmarks.api.drain import drain, metric
from benchmarks.api.load import compact
from benchmarks.api.records import first_lines, first_records
from benchmarks.api.servers import Service
from benchmarks.api.site import Site
from benchmarks.pipeline import say
from readmission.local.ports import LOOPBACK

ROWS = 20_000
SECONDS = 10.0
PATH = "/predict/batch"


def batches(site: Site, api: Service) -> dict:
    """Measure CSV and JSON; wait after each until its predictions are stored in the database."""
    csv = first_lines(site.csv, ROWS)
    document = compact({"records": first_records(site.csv, ROWS)}).encode()
    figures: dict = {}
    for name, kind, body in (("batch", "text/csv", csv), ("batch_json", "application/json", document)):
        say(f"batches of {ROWS:,} rows as {kind}")
        figures[f"{name}_rows_per_s"] = round(_rate(api.port, kind, body))
        figures[f"{name}_stored_after_s"] = round(drain(api.port), 1)
    figures["batch_rows_dropped"] = round(metric(api.port, "predictions_dropped_total"))
    return figures


def _rate(port: int, kind: str, body: bytes) -> float:
    """Rows per second of one client that sends one batch after the other."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60.0)
    try:
        _check(_post(connection, kind, body), kind)
        started, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < SECONDS:
            _post(connection, kind, body)
            count += 1
    finally:
        connection.close()
    return count * ROWS / passed


def _post(connection: http.client.HTTPConnection, kind: str, body: bytes) -> bytes:
    connection.request("POST", PATH, body, {"Content-Type": kind})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        sys.exit(f"{PATH} answers {answer.status}: {content[:300].decode(errors='replace')}")
    return content


def _check(content: bytes, kind: str) -> None:
    """Check that every row has a prediction."""
    rows = content.count(b"\n") - 1 if kind == "text/csv" else len(json.loads(content)["predictions"])
    if rows != ROWS:
        sys.exit(f"{PATH} answers {rows} rows of {ROWS}")
