"""Wait until the predictions of a part are stored, so that storing does not slow down the next part."""

import http.client
import re
import sys
import time

from readmission.local.ports import LOOPBACK

_DRAIN_SECONDS = 120.0
_POLL_SECONDS = 0.2


def drain(port: int) -> float:
    """Wait until an API's prediction log is stored; return the seconds that it took."""
    started = time.perf_counter()
    while metric(port, "prediction_spool_bytes") or metric(port, "prediction_queue_records"):
        if time.perf_counter() - started > _DRAIN_SECONDS:
            sys.exit(f"predictions are not stored after {_DRAIN_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    return time.perf_counter() - started


def metric(port: int, name: str) -> float:
    """Value of a metric without labels; 0 if it is missing."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30.0)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = re.search(rf"(?m)^{name} (\S+)$", text)
    return float(found[1]) if found else 0.0
