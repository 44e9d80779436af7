"""Measure the API: ``make bench-api``. Prints one JSON object as its last line.

Everything runs on its own local stack, in a temporary folder on free ports. The real file is read from
READMISSION_DATA, else downloaded from UCI. Each server runs on the first core; load generator and databases run on the
second. ``--parts`` selects what to measure; ``profile`` shows where the time of a prediction goes (not a default part).
"""

import argparse
import json
import sys

from benchmarks.api import batch, latency, profile, scoring, single, starting
from benchmarks.api.load import Target, load
from benchmarks.api.machine import describe, need, take_cores
from benchmarks.api.rivals import RIVALS
from benchmarks.api.servers import resident_mib, running
from benchmarks.api.site import Site, open_site

ON_THE_API = ("noop", *RIVALS, "latency", "memory", "profile", "batch")
"""Parts that need a running API, in order; batches are last, since they increase its memory."""

PARTS = (*ON_THE_API, "score", "ready")
DEFAULT = tuple(part for part in PARTS if part != "profile")


def measure(parts: set[str]) -> dict:
    """Measure the selected parts."""
    cores = take_cores()
    need(["taskset", "wrk"])
    result: dict = {"requests_per_s": {}}
    with open_site(cores) as site:
        if parts & set(ON_THE_API):
            _on_the_api(site, parts, result)
        if "score" in parts:
            result.update(scoring.score_ratio(site))
        if "ready" in parts:
            result.update(starting.ready_seconds(site))
    return {**result, "machine": describe()}


def _on_the_api(site: Site, parts: set[str], result: dict) -> None:
    service = site.api()
    api = Target.of(service, site.records, site.folder)
    with running(service, site.cores.server, site.folder / "logs") as child:
        if "noop" in parts:
            _add(result, single.noop(site, api))
        else:
            load(api, site.cores, single.WARM_UP_SECONDS)
            _add(result, {"requests_per_s": {service.name: round(load(api, site.cores, single.SECONDS).per_second)}})
        peak = result["requests_per_s"][service.name]
        for part in RIVALS:
            if part in parts:
                _add(result, single.rival(site, api, part))
        if "latency" in parts:
            _add(result, latency.half_load(api, peak))
        if "memory" in parts:
            result["rss_mib"] = round(resident_mib(child))
        if "profile" in parts:
            _add(result, profile.measure(site, api, child))
        if "batch" in parts:
            _add(result, batch.batches(site, service))
            result["rss_mib_after_batches"] = round(resident_mib(child))


def _add(result: dict, figures: dict) -> None:
    rates = figures.pop("requests_per_s", {})
    result["requests_per_s"].update(rates)
    result.update(figures)
    print(f"  {figures}", file=sys.stderr)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(DEFAULT), help="what to measure")
    parser.add_argument("--profile", action="store_true", help="also tell where the time of a prediction goes")
    options = parser.parse_args()
    print(json.dumps(measure({*options.parts, *(["profile"] if options.profile else [])})))


if __name__ == "__main__":
    main()
