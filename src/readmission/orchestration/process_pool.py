"""The processes that train, forked from a server that has everything loaded.

This module itself imports nothing heavy, so that they can load while the caller loads too.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait

import psutil

from readmission.errors import ReadmissionError


@contextmanager
def worker_pool(workers: int, preload: bool = True) -> Iterator[ProcessPoolExecutor]:
    """Processes that die with this one: one more than the cores to be used (``executors.side_by_side`` says why).

    Args:
        workers: cores to use.
        preload: load the heavy libraries before the first task arrives, beside what the caller does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["readmission.orchestration.end_with_owner", "readmission.orchestration.preload"])
    # Nothing is submitted yet: a first task would wait here until the server has loaded everything.
    started = _start_server() if preload else []
    pool = ProcessPoolExecutor(workers + 1, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        _kill(started)


def _start_server() -> list[psutil.Process]:
    """Start the server that processes fork from; return it, unless it runs already.

    SIGINT is blocked in it: Ctrl-C reaches the whole process group, and the owner alone decides what it means.
    """
    resource_tracker.ensure_running()  # by itself, since it would lift the mask
    before = psutil.Process().children()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return [child for child in psutil.Process().children() if child not in before]


def _kill(servers: Sequence[psutil.Process]) -> None:
    """End servers with all that they forked: nobody waits for their work any more, and idle they hold 300 MB."""
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            for process in (*server.children(recursive=True), server):
                process.kill()


def _end_with_parent() -> None:
    """End this process when the owner of the pool has gone, even if it was killed and could not end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=[parent.sentinel], daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextmanager
def pool_errors() -> Iterator[None]:
    """Turn the death of a process into one line.

    Raises:
        ReadmissionError: a process of the pool died.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise ReadmissionError(
            "A training process died (out of memory?): run again with fewer READMISSION_WORKERS"
        ) from error
