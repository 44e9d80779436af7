"""Response times of the API at half of its peak rate."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from benchmarks.api.drain import drain
from benchmarks.api.load import Target
from benchmarks.api.open_loop import Times, as_request, ask
from benchmarks.pipeline import say

SECONDS = 15.0
WARM_UP_SECONDS = 2.0


def half_load(api: Target, peak: float) -> dict:
    """Measure response times at half of a peak rate, from the other core.

    The predictions of the peak load are stored before; those of this load are stored meanwhile.
    """
    drain(api.service.port)
    say(f"response times at {peak / 2:,.0f} requests per second")
    bodies = api.bodies.read_bytes().splitlines()
    requests = [as_request(api.service.path, body) for body in bodies]
    with _first_in_line():
        ask(api.service.port, requests, peak / 2, WARM_UP_SECONDS)
        times = ask(api.service.port, requests, peak / 2, SECONDS)
    if times.refused:
        sys.exit(f"{times.refused} of {len(times.answers)} requests were refused at half load")
    return figures(times)


@contextmanager
def _first_in_line() -> Iterator[None]:
    """Raise the priority of the generator above the database on the same core, if this user may; else it is late."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)


def figures(times: Times) -> dict:
    """Percentiles in milliseconds; ``late`` is the delay of the generator itself."""
    p50, p99, worst = (1e3 * float(np.percentile(times.answers, share)) for share in (50, 99, 100))
    late = 1e3 * float(np.percentile(times.late, 99))
    return {
        "p99_ms_half_load": round(p99, 2),
        "half_load": {
            "requests_per_s": round(len(times.answers) / times.seconds),
            "p50_ms": round(p50, 2),
            "max_ms": round(worst, 2),
            "late_p99_ms": round(late, 2),
        },
    }
