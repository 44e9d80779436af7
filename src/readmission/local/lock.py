"""A lock, so that one process owns a state folder, also after the last owner was killed."""

import fcntl
import os
import time
from pathlib import Path

from readmission.errors import ServiceDownError
from readmission.settings import Settings

_ATTEMPTS = 10
_PAUSE_SECONDS = 0.05


class StackLock:
    """An exclusive lock on ``<home>/stack.lock``; the kernel releases it when its holder ends."""

    def __init__(self, settings: Settings) -> None:
        self._path = lock_path(settings)
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock.

        Returns:
            Whether the last owner was killed; its child processes may still be ending.

        Raises:
            ServiceDownError: another process holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            owner = self._path.read_text().strip() or "unknown"
            raise ServiceDownError(
                f"The stack in {self._path.parent} is already running (process {owner}): use that one or stop it first"
            )
        left_behind = bool(self._path.read_text().strip())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return left_behind

    def release(self) -> None:
        """Release the lock; an empty file tells the next owner that everything was stopped in order."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def lock_path(settings: Settings) -> Path:
    """The lock file, which also holds the owner's process id."""
    return settings.home.absolute() / "stack.lock"


def is_locked(settings: Settings) -> bool:
    """Whether a running process owns the stack of this state folder."""
    try:
        descriptor = os.open(lock_path(settings), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _try_lock(descriptor: int, kind: int) -> bool:
    # Several tries, since `is_locked` holds a shared lock for a moment.
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False
