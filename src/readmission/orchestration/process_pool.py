"""The processes that train, forked from a server that has everything loaded.

This module itself imports nothing heavy, so that they can load while the caller loads too.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait

import psutil


@contextmanager
def worker_pool(workers: int, warm: bool = True) -> Iterator[ProcessPoolExecutor]:
    """Processes that die with this one.

    One more than the cores to be used; ``grid`` says when it helps.

    Args:
        workers: cores to use.
        warm: have the heavy libraries loaded, beside what the caller does, before the first task arrives.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["readmission.orchestration.preload"])
    # Nothing is submitted yet: a first task would wait here until the server has loaded everything.
    started = _start_server() if warm else []
    pool = ProcessPoolExecutor(workers + 1, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        _kill(started)


def _start_server() -> list[psutil.Process]:
    """Start the server that processes fork from; answer it, unless it runs already.

    It is deaf to Ctrl-C, which reaches the whole group: the owner alone decides what it means.
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
    """End servers with all that they forked: nobody waits for what is under way, and idle they hold 300 MB."""
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            for process in (*server.children(recursive=True), server):
                process.kill()


def _end_with_parent() -> None:
    """End this process when the one that owns the pool is gone, even killed: it could not tell us any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=[parent.sentinel], daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
