"""The processes that train, forked from a server that has everything loaded.

This module itself imports nothing heavy, so that they can load while the caller loads too.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import wait


@contextmanager
def worker_pool(workers: int, warm: bool = True) -> Iterator[ProcessPoolExecutor]:
    """Processes that die with this one.

    One more than the cores to be used: whenever one waits for MLflow, another fits (measured: 9 % of the training).

    Args:
        workers: cores to use.
        warm: have the heavy libraries loaded before the first task arrives.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["readmission.warm"])
    _start_server()
    pool = ProcessPoolExecutor(workers + 1, mp_context=context, initializer=_end_with_parent)
    try:
        for _ in range(workers if warm else 0):
            pool.submit(os.getpid)
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start_server() -> None:
    """Start the server that processes fork from, deaf to Ctrl-C: while it loads it would answer with a traceback.

    Ctrl-C reaches the whole group; the owner alone decides what it means.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end_with_parent() -> None:
    """End this process when the one that owns the pool is gone, even killed: it could not tell us any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=[parent.sentinel], daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
