"""Where the time of a prediction goes: stages on their own, and the server as what remains."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.api.drain import drain
from benchmarks.api.load import Target, load, write_bodies
from benchmarks.api.machine import ONE_THREAD, pinned
from benchmarks.api.servers import Record
from benchmarks.api.site import Site
from benchmarks.pipeline import say
from readmission.local.process import Child, child_environment
from readmission.serving.inference.scorer import load_scorer
from readmission.settings import PREFIX

WHOLE = "everything but the server"
LATER = "later: "
BESIDE = "the core beside it: "
SECONDS = 5
WARM_UP_SECONDS = 1


def measure(site: Site, api: Target, server: Child) -> dict:
    """Measure the stages, and the processor time of a whole request in either lane, in microseconds."""
    say("where the time of a prediction goes")
    fast, slow = _by_lane(site)
    cost = _load(site, api, server, fast)
    stages = complete(_stages(site, write_bodies(site.folder / "fast.jsonl", map(api.service.ask, fast))), cost)
    if slow:
        dear = _load(site, api, server, slow)
        stages["a request that takes the slow lane"] = round(dear.main + dear.others, 2)
    for name, microseconds in stages.items():
        say(f"  {microseconds:7.1f} us  {name}")
    return {"profile_us": stages, "slow_lane_share": round(len(slow) / len(site.records), 4)}


@dataclass(frozen=True, slots=True)
class Cost:
    """Where the server's core was during one request, in microseconds.

    Attributes:
        main: the server's main thread, which answers.
        others: its other threads and children, which store.
        core: by what else the core did; with the two above all the time there was.
    """

    main: float
    others: float
    core: Mapping[str, float]


def _load(site: Site, api: Target, server: Child, records: Sequence[Record]) -> Cost:
    """Load the API with some records, while nothing is left to be stored from before."""
    target = Target(api.service, write_bodies(site.folder / "lane.jsonl", map(api.service.ask, records)))
    load(target, site.cores, WARM_UP_SECONDS)
    drain(api.service.port)
    processes, core, began = _processor_seconds(server), _core_seconds(site.cores.server), time.perf_counter()
    requests = load(target, site.cores, SECONDS).per_second * SECONDS
    passed = time.perf_counter() - began
    main, others = (
        1e6 * (after - at) / requests for after, at in zip(_processor_seconds(server), processes, strict=True)
    )
    spent = {name: 1e6 * (after - core[name]) / requests for name, after in _core_seconds(site.cores.server).items()}
    rest = 1e6 * passed / requests - main - others - sum(spent.values())
    return Cost(main, others, {**spent, "other programs and what the clock cannot tell": rest})


def _core_seconds(core: int) -> dict[str, float]:
    """What a core did beside running programs."""
    times = psutil.cpu_times(percpu=True)[core]
    return {
        "interrupts (packets on their way)": times.irq + times.softirq,
        "taken by the host": times.steal,
        "idle": times.idle + times.iowait,
    }


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


def complete(stages: dict[str, float], cost: Cost) -> dict[str, float]:
    """Add what was not measured by itself.

    Args:
        stages: by name; those of threads and children begin with ``later``.
        cost: of a whole request.
    """
    whole = stages.pop(WHOLE)
    parts = sum(value for name, value in stages.items() if not name.startswith(LATER))
    later = sum(value for name, value in stages.items() if name.startswith(LATER))
    added = {
        "the way in itself": whole - parts,
        "server, event loop, sockets": cost.main - whole,
        f"{LATER}all else, the database's driver above all": cost.others - later,
        "a request that takes the fast lane": cost.main + cost.others,
        **{f"{BESIDE}{name}": value for name, value in cost.core.items()},
        "from one answer to the next": cost.main + cost.others + sum(cost.core.values()),
    }
    return {**stages, **{name: round(value, 2) for name, value in added.items()}}
