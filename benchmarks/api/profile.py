"""Where the time of a prediction goes: stages on their own, and the server as what remains."""

import json
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.api.load import Target, load, write_bodies
from benchmarks.api.machine import ONE_THREAD, pinned
from benchmarks.api.servers import Record
from benchmarks.api.site import Site
from benchmarks.pipeline import say
from readmission.local.process import child_environment
from readmission.serving.scorer import load_scorer
from readmission.settings import PREFIX

WHOLE = "everything but the server"
LATER = "later: "
SECONDS = 5.0


def measure(site: Site, api: Target) -> dict:
    """Measure the stages in microseconds, beside the time that a request has under full load in either lane."""
    say("where the time of a prediction goes")
    lanes = dict(zip(("fast", "slow"), _by_lane(site), strict=True))
    targets = {
        lane: Target(api.service, write_bodies(site.folder / f"{lane}.jsonl", map(api.service.ask, records)))
        for lane, records in lanes.items()
        if records
    }
    request = {lane: 1e6 / load(target, site.cores, SECONDS).per_second for lane, target in targets.items()}
    stages = complete(_stages(site, targets["fast"]), request["fast"])
    if "slow" in request:
        stages["a request that takes the slow lane"] = round(request["slow"], 2)
    for name, microseconds in stages.items():
        say(f"  {microseconds:7.1f} us  {name}")
    return {"profile_us": stages, "slow_lane_share": round(len(lanes["slow"]) / len(site.records), 4)}


def _by_lane(site: Site) -> tuple[Sequence[Record], Sequence[Record]]:
    """Records that the fast lane takes, once their values have been met, and those with a value that it never takes."""
    unusual = load_scorer(site.bundle, "").unusual
    slow = [any(unusual.find(name, value) for name, value in record.items()) for record in site.records]
    pairs = list(zip(site.records, slow, strict=True))
    return [record for record, odd in pairs if not odd], [record for record, odd in pairs if odd]


def _stages(site: Site, target: Target) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.api.stages", str(site.bundle), str(target.bodies)]
    outcome = subprocess.run(
        pinned([site.cores.server], command),
        env=child_environment(without=(PREFIX,), **ONE_THREAD),
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome.returncode:
        sys.exit(f"the stages cannot be measured: {outcome.stderr[-1000:]}")
    return dict(json.loads(outcome.stdout.splitlines()[-1]))


def complete(stages: dict[str, float], request: float) -> dict[str, float]:
    """Add what was not measured by itself: the way in's own code, and the server with the rest of its threads."""
    whole = stages.pop(WHOLE)
    parts = sum(value for name, value in stages.items() if not name.startswith(LATER))
    later = sum(value for name, value in stages.items() if name.startswith(LATER))
    return {
        **stages,
        "the way in itself": round(whole - parts, 2),
        "server, sockets, kernel, the database's driver": round(request - whole - later, 2),
        "a request that takes the fast lane": round(request, 2),
    }
