"""Where the time of a prediction goes: stages on their own, and the server as what remains."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.api.drain import drain
from benchmarks.api.load import Target, load, write_bodies
from benchmarks.api.machine import ONE_THREAD, pinned
from benchmarks.api.site import Site
from benchmarks.pipeline import say
from readmission.local.process import Child, child_environment
from readmission.settings import PREFIX

WHOLE = "everything but the server"
LATER = "later: "
BESIDE = "the core beside it: "
SECONDS = 5
WARM_UP_SECONDS = 1


def measure(site: Site, api: Target, server: Child) -> dict:
    """Measure the stages, and the processor time of a whole request, in microseconds."""
    say("where the time of a prediction goes")
    bodies = write_bodies(site.folder / "profile.jsonl", map(api.service.ask, site.records))
    stages = complete(_stages(site, bodies), _load(Target(api.service, bodies), site, server))
    for name, microseconds in stages.items():
        say(f"  {microseconds:7.1f} us  {name}")
    return {"profile_us": stages}


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


def _load(target: Target, site: Site, server: Child) -> Cost:
    """Load the API, while nothing is left to be stored from before."""
    load(target, site.cores, WARM_UP_SECONDS)
    drain(target.service.port)
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
        "the fast path itself": whole - parts,
        "server, event loop, sockets": cost.main - whole,
        f"{LATER}all else, the database's driver above all": cost.others - later,
        "a request": cost.main + cost.others,
        **{f"{BESIDE}{name}": value for name, value in cost.core.items()},
        "from one answer to the next": cost.main + cost.others + sum(cost.core.values()),
    }
    return {**stages, **{name: round(value, 2) for name, value in added.items()}}
