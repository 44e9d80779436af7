"""Where models are fitted: side by side in the processes of a pool, or one after the other in this process."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

LARGE_ROWS = 150_000
"""Rows of a set beyond which a fit more than the cores costs more than it gains."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FitExecutor:
    """An executor, and how fits share it.

    Attributes:
        executor: runs them.
        threads: of one fit.
        slots: fits at a time.
        spare_slots: fits beyond that on sets of up to LARGE_ROWS rows.
    """

    executor: Executor
    threads: int
    slots: int
    spare_slots: int = 0

    def slots_for(self, rows: int) -> int:
        """Fits at a time when the next is on so many rows."""
        return self.slots if rows > LARGE_ROWS else self.slots + self.spare_slots


def side_by_side(pool: ProcessPoolExecutor, cores: int) -> FitExecutor:
    """Fit with one thread each in the processes of a pool: whole fits use cores better than threads within a fit.

    One more than the cores runs, so that another fits while one waits for MLflow (measured: 9 % of the training). On
    large sets that wait is nothing, and one more fit pushes the others' arrays out of the processor's caches and needs
    memory too.
    """
    return FitExecutor(pool, threads=1, slots=cores, spare_slots=1)


def one_by_one(threads: int) -> FitExecutor:
    """Fit one after the other in this process, each with so many threads."""
    return FitExecutor(InlineExecutor(), threads=threads, slots=1)


class InlineExecutor(Executor):
    """Runs each call when it is submitted, in the caller's thread; its error is raised there too."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call; return it as a future that is done."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
