"""Fit one type of model on the largest cumulative set of a stack, like a task; for ``benchmarks.airflow``.

Prints one JSON object: rows, seconds of reading the set and of the fit, and the peak of resident memory in MiB.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from readmission.results import Aim
from readmission.services import resolve_services
from readmission.settings import load_settings
from readmission.training.fitting import fit
from readmission.training.preparation import prepare_set
from readmission.warehouse.clean import cumulative_views
from readmission.warehouse.connection import connect


def main() -> None:
    """Fit, print."""
    services = resolve_services(load_settings())
    with connect(services.clean_url) as clean:
        view = cumulative_views(clean)[-1]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        prepared = prepare_set(services, view, Path(folder) / view)
        read = time.perf_counter()
        fit(prepared, sys.argv[1], Aim())
        ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"rows": prepared.rows, "read_s": round(read - started, 1), "fit_s": round(ended - read, 1)}
    print(json.dumps({**figures, "peak_mib": round(peak)}))


if __name__ == "__main__":
    main()
