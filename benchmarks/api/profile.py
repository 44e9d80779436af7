"""Where the time of a prediction goes: stages on their own, and the server as what remains."""

import json
import subprocess
import sys

from benchmarks.api.load import Target
from benchmarks.api.machine import ONE_THREAD, pinned
from benchmarks.api.site import Site
from benchmarks.pipeline import say
from readmission.local.process import child_environment
from readmission.settings import PREFIX

WHOLE = "everything but the server"
LATER = "later: "


def measure(site: Site, api: Target, peak: float) -> dict:
    """Measure the stages in microseconds, beside the time that a request has under full load."""
    say("where the time of a prediction goes")
    command = [sys.executable, "-m", "benchmarks.api.stages", str(site.bundle), str(api.bodies)]
    outcome = subprocess.run(
        pinned([site.cores.server], command),
        env=child_environment(without=(PREFIX,), **ONE_THREAD),
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome.returncode:
        sys.exit(f"the stages cannot be measured: {outcome.stderr[-1000:]}")
    stages = complete(json.loads(outcome.stdout.splitlines()[-1]), 1e6 / peak)
    for name, microseconds in stages.items():
        say(f"  {microseconds:7.1f} us  {name}")
    return {"profile_us": stages}


def complete(stages: dict[str, float], request: float) -> dict[str, float]:
    """Add what was not measured by itself: the way in's own code, and the server with the rest of its threads."""
    whole = stages.pop(WHOLE)
    parts = sum(value for name, value in stages.items() if not name.startswith(LATER))
    later = sum(value for name, value in stages.items() if name.startswith(LATER))
    return {
        **stages,
        "the way in itself": round(whole - parts, 2),
        "server, sockets, kernel, the database's driver": round(request - whole - later, 2),
        "a request under full load": round(request, 2),
    }
