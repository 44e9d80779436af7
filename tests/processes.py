"""Look at processes that may end at any moment: what has gone is left out, and is no error."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import psutil

T = TypeVar("T")


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one, also those of groups of their own."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def session_members(leader: int) -> list[psutil.Process]:
    """All processes of a session, also where the one that leads it has ended."""
    found = ask(psutil.process_iter(), lambda process: (process, os.getsid(process.pid)))
    return [process for process, session in found if session == leader]


def ask(processes: Iterable[psutil.Process], question: Callable[[psutil.Process], T]) -> list[T]:
    """The answers of those that are still there, say ``ask(found, psutil.Process.name)``."""
    answers: list[T] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):  # a zombie counts as one
            answers.append(question(process))
    return answers


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Addresses and ports where it waits for others."""
    return [
        (place.laddr.ip, place.laddr.port)
        for place in process.net_connections("inet")
        if place.status == psutil.CONN_LISTEN or (place.type == socket.SOCK_DGRAM and not place.raddr)
    ]


def is_alive(process: psutil.Process) -> bool:
    return any(ask([process], lambda found: found.is_running() and found.status() != psutil.STATUS_ZOMBIE))


def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether they end within seconds."""
    return eventually(lambda: not [process for process in processes if is_alive(process)])


def eventually(condition: Callable[[], bool], patience: float = 60.0) -> bool:
    """Whether it becomes true; the patience is for a machine that does other work too."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
