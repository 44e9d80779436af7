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
    pool = ProcessPoolExecutor(workers + 1, mp_context=context, initializer=_end_with_parent)
    try:
        for _ in range(workers if warm else 0):
            pool.submit(os.getpid)
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that owns the pool is gone, even killed: it could not tell us any more.

    Ctrl-C reaches the whole group; the owner alone decides what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=[parent.sentinel], daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
