"""Where the time of a prediction goes: stages on their own, and the server as what remains."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.api.load import Target, load, write_bodies
from benchmarks.api.machine import ONE_THREAD, pinned
from benchmarks.api.servers import Record
from benchmarks.api.site import Site
from benchmarks.pipeline import say
from readmission.local.process import Child, child_environment
from readmission.serving.scorer import load_scorer
from readmission.settings import PREFIX

WHOLE = "everything but the server"
LATER = "later: "
SECONDS = 5
WARM_UP_SECONDS = 1


def measure(site: Site, api: Target, server: Child) -> dict:
    """Measure the stages, and the processor time of a whole request in either lane, in microseconds."""
    say("where the time of a prediction goes")
    fast, slow = _by_lane(site)
    lane, threads = _load(site, api, server, fast)
    stages = complete(
        _stages(site, write_bodies(site.folder / "fast.jsonl", map(api.service.ask, fast))), lane, threads
    )
    if slow:
        stages["a request that takes the slow lane"] = round(sum(_load(site, api, server, slow)), 2)
    for name, microseconds in stages.items():
        say(f"  {microseconds:7.1f} us  {name}")
    return {"profile_us": stages, "slow_lane_share": round(len(slow) / len(site.records), 4)}


def _load(site: Site, api: Target, server: Child, records: Sequence[Record]) -> tuple[float, float]:
    """Load the API; processor time per request of its main thread, which answers, and of all else, which stores."""
    target = Target(api.service, write_bodies(site.folder / "lane.jsonl", map(api.service.ask, records)))
    load(target, site.cores, WARM_UP_SECONDS)
    before = _processor_seconds(server)
    requests = load(target, site.cores, SECONDS).per_second * SECONDS
    main, others = (1e6 * (after - at) / requests for after, at in zip(_processor_seconds(server), before, strict=True))
    return main, others


def _processor_seconds(server: Child) -> tuple[float, float]:
    process = psutil.Process(server.pid)
    times = {thread.id: thread.user_time + thread.system_time for thread in process.threads()}
    main = times.pop(server.pid)
    children = [child.cpu_times() for child in process.children(recursive=True)]
    return main, sum(times.values()) + sum(child.user + child.system for child in children)


def _by_lane(site: Site) -> tuple[Sequence[Record], Sequence[Record]]:
    """Records that the fast lane takes, once their values have been met, and those with a value that it never takes."""
    unusual = load_scorer(site.bundle, "").unusual
    slow = [any(unusual.find(name, value) for name, value in record.items()) for record in site.records]
    pairs = list(zip(site.records, slow, strict=True))
    return [record for record, odd in pairs if not odd], [record for record, odd in pairs if odd]


def _stages(site: Site, bodies: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.api.stages", str(site.bundle), str(bodies)]
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


def complete(stages: dict[str, float], lane: float, threads: float) -> dict[str, float]:
    """Add what was not measured by itself.

    Args:
        stages: by name; those of threads and children begin with ``later``.
        lane: processor time of a request in the main thread.
        threads: the same in all other threads and in children.
    """
    whole = stages.pop(WHOLE)
    parts = sum(value for name, value in stages.items() if not name.startswith(LATER))
    later = sum(value for name, value in stages.items() if name.startswith(LATER))
    added = {
        "the way in itself": whole - parts,
        "server, event loop, sockets": lane - whole,
        f"{LATER}all else, the database's driver above all": threads - later,
        "a request that takes the fast lane": lane + threads,
    }
    return {**stages, **{name: round(value, 2) for name, value in added.items()}}
