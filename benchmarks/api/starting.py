"""Time from the start of the API to the first status 200 of ``/ready``, with the model on disk and MLflow down."""

import statistics
import sys
import time

from benchmarks.api.servers import answers, end, launch, running
from benchmarks.api.site import Site
from benchmarks.pipeline import say

ROUNDS = 5
_MOST_SECONDS = 60.0
_POLL_SECONDS = 0.01


def ready_seconds(site: Site) -> dict:
    """Measure starts; the first one, which downloads the model and compiles modules, is ignored."""
    say("starting the API without MLflow")
    logs = site.folder / "logs"
    with running(site.api(), site.cores.server, logs):
        pass  # stores the model on disk
    closed_port = next(site.ports)
    seconds = [_start(site, mlflow_port=closed_port) for _ in range(ROUNDS)]
    return {"ready_s": round(statistics.median(seconds), 2)}


def _start(site: Site, **changes: object) -> float:
    service = site.api(**changes)
    started = time.perf_counter()
    child = launch(service, site.cores.server, site.folder / "logs")
    try:
        while not answers(service.port, service.ready):
            if child.exit_code is not None or time.perf_counter() - started > _MOST_SECONDS:
                sys.exit(f"the API does not start without MLflow: {child.last_log_line()}")
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - started
    finally:
        end(child)
