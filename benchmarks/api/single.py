"""Single predictions: compare the API with the no-op and with other servers of the same model."""

import sys
from pathlib import Path

from benchmarks.api.load import Target, alternate, compact, load
from benchmarks.api.parity import check
from benchmarks.api.rivals import RIVALS
from benchmarks.api.servers import Service, post, running
from benchmarks.api.site import Site
from benchmarks.pipeline import say

ROUNDS = 5
SECONDS = 5
WARM_UP_SECONDS = 2


def noop(site: Site, api: Target) -> dict:
    """Compare the API with the no-op."""
    say("the no-op")
    answer = post(api.service.port, api.service.path, compact(api.service.ask(site.records[0])).encode())
    port = next(site.ports)
    command = (sys.executable, "-m", "benchmarks.api.noop", "--port", str(port), "--bytes", str(len(answer)))
    service = Service("noop", command, port, ready="/")
    with running(service, site.cores.server, _logs(site)):
        ratio, ours, theirs = _against(site, api, Target(service, api.bodies))
    return {"noop_ratio": round(ratio, 3), "requests_per_s": {"readmission": round(ours), "noop": round(theirs)}}


def rival(site: Site, api: Target, part: str) -> dict:
    """Compare the API with another server, which must give the same predictions."""
    service = RIVALS[part](site)
    say(service.name)
    with running(service, site.cores.server, _logs(site)):
        check(api.service, service, site.records)
        ratio, _, theirs = _against(site, api, Target.of(service, site.records, site.folder))
    return {f"vs_{service.name}": round(ratio, 2), "requests_per_s": {service.name: round(theirs, 1)}}


def _against(site: Site, api: Target, other: Target) -> tuple[float, float, float]:
    for target in (api, other):
        load(target, site.cores, WARM_UP_SECONDS)
    return alternate(api, other, site.cores, ROUNDS, SECONDS)


def _logs(site: Site) -> Path:
    return site.folder / "logs"
