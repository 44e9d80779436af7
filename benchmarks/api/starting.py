"""From the start of the API's process to its first 200 of ``/ready``: the model is on disk, MLflow is down."""

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
    """Measure starts; the first, which fetches the model or compiles modules, does not count."""
    say("starting the API without MLflow")
    logs = site.folder / "logs"
    with running(site.api(), site.cores.server, logs):
        pass  # keeps the model on disk
    nobody = next(site.ports)
    seconds = [_start(site, mlflow_port=nobody) for _ in range(ROUNDS)]
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
