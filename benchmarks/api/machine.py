"""The machine: the core of the server, the core of the load, and the programs that are needed."""

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

PACKAGES = {"taskset": "util-linux", "wrk": "wrk"}
"""Programs that are not Python packages, with the Debian package of each."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server under test, the other for everything else (load and databases)."""

    server: int
    load: int


def take_cores() -> Cores:
    """Choose two cores and move this process and its future children to the second."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        sys.exit("The API benchmark needs two cores, one for the server and one for the load")
    cores = Cores(*allowed[:2])
    os.sched_setaffinity(0, {cores.load})
    return cores


def need(programs: Iterable[str]) -> None:
    """Exit with one line if a program is missing."""
    missing = sorted({PACKAGES[name] for name in programs if shutil.which(name) is None})
    if missing:
        sys.exit(f"The API benchmark needs programs that are missing: apt-get install {' '.join(missing)}")


def pinned(cores: Iterable[int], command: Sequence[str]) -> tuple[str, ...]:
    """The command line that runs a command on these cores."""
    return (str(shutil.which("taskset")), "-c", ",".join(map(str, cores)), *command)


def describe() -> str:
    """Short description of the machine."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"
