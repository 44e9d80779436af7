"""Closed-loop load by wrk, from the other core."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.api.machine import Cores, pinned
from benchmarks.api.servers import Record, Service
from readmission.local.ports import LOOPBACK

CONNECTIONS = 16
_PATIENCE = "30s"
_SCRIPT = Path(__file__).with_name("cycle.lua")
_BUSY = 95.0
"""Percent of load above which the generator's core may limit a figure."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Result of wrk.

    Attributes:
        per_second: responses per second.
        p99_ms: 99th percentile of the response time under this load.
        refused: responses with a status other than 200.
        failed: requests without a response.
        load_core: load of the core of the generator and databases, in percent.
    """

    per_second: float
    p99_ms: float
    refused: int
    failed: int
    load_core: float = 0.0


def read_rate(output: str) -> Rate:
    """Parse the line that ``cycle.lua`` adds to the output of wrk."""
    line = next(line for line in output.splitlines() if line.startswith("{"))
    figures = json.loads(line)
    per_second = (figures["requests"] - figures["refused"]) / figures["seconds"]
    return Rate(per_second, figures["p99_ms"], figures["refused"], figures["failed"])


def write_bodies(path: Path, contents: Iterable[Any]) -> Path:
    """Write JSON bodies, one a line."""
    path.write_text("".join(f"{compact(content)}\n" for content in contents))
    return path


def compact(content: Any) -> str:
    """Compact JSON, as programs send it."""
    return json.dumps(content, separators=(",", ":"))


@dataclass(frozen=True)
class Target:
    """A server and its requests."""

    service: Service
    bodies: Path

    @classmethod
    def of(cls, service: Service, records: Sequence[Record], folder: Path) -> "Target":
        """Prepare the requests in the server's format."""
        return cls(service, write_bodies(folder / f"{service.name}.jsonl", map(service.ask, records)))


def load(target: Target, cores: Cores, seconds: int) -> Rate:
    """Load a server; exit if it refuses a request."""
    service = target.service
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"--timeout={_PATIENCE}", "-s", str(_SCRIPT)]
    command += [f"http://{LOOPBACK}:{service.port}", "--", service.path, "application/json", str(target.bodies)]
    psutil.cpu_percent(percpu=True)
    outcome = subprocess.run(pinned([cores.load], command), capture_output=True, text=True, check=False)
    busy = psutil.cpu_percent(percpu=True)[cores.load]
    if outcome.returncode:
        sys.exit(f"wrk failed: {outcome.stderr.strip() or outcome.stdout.strip()}")
    rate = read_rate(outcome.stdout)
    if rate.refused or rate.failed or not rate.per_second:
        sys.exit(f"{service.name} answered under load: {rate.refused} refusals, {rate.failed} requests got no answer")
    return Rate(rate.per_second, rate.p99_ms, rate.refused, rate.failed, busy)


def alternate(first: Target, second: Target, cores: Cores, rounds: int, seconds: int) -> tuple[float, float, float]:
    """Load two servers alternately, so that changes of the machine's speed affect both.

    Returns:
        the median ratio first to second of a round, and the median requests per second of each.
    """
    pairs = []
    for number in range(rounds):
        one, other = load(first, cores, seconds), load(second, cores, seconds)
        pairs.append((one.per_second, other.per_second))
        busy = max(one.load_core, other.load_core)
        note = f"; the load's core is {busy:.0f} % busy" if busy > _BUSY else ""
        say = f"{first.service.name} {one.per_second:,.0f}/s, {second.service.name} {other.per_second:,.0f}/s"
        print(f"  round {number + 1}: {say}, ratio {one.per_second / other.per_second:.2f}{note}", file=sys.stderr)
    ratio = statistics.median(one / other for one, other in pairs)
    return ratio, *(statistics.median(rates) for rates in zip(*pairs, strict=True))
