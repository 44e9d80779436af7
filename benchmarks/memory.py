"""Measure the memory of process trees from outside."""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

SHARE = 0.005
"""Largest share of a core that measuring may take: it blocks large processes while the kernel walks their pages."""


class PeakMemory:
    """Peak of the summed proportional set sizes of processes and all their descendants, in MiB.

    Proportional: a page shared by several processes is counted once in total.

    Args:
        pids: the roots of the trees.
        every: seconds between two measurements, longer if they are slow (``SHARE``).
    """

    def __init__(self, *pids: int, every: float = 2.0) -> None:
        self.peak = 0.0
        self._pids = pids
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = self._every
        while not self._ended.wait(pause):
            started = time.perf_counter()
            self.peak = max(self.peak, sum(_tree_size(pid) for pid in self._pids) / 2**20)
            pause = max(self._every, (time.perf_counter() - started) / SHARE)


def _tree_size(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_size(member) for member in members)


def _size(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
