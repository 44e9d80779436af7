"""Entries on disk while the database is away: files of lines, each complete before it gets its name."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from readmission.serving.entries import Entry, from_line, to_line

_SUFFIX = ".ndjson"


class Spool:
    """A folder of waiting entries. Several processes may share it; what two of them store twice is stored once.

    Args:
        folder: made when first needed.
        limit: bytes that may wait.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def add(self, entries: Sequence[Entry]) -> bool:
        """Keep entries; False where the limit, or the disk, leaves no room."""
        content = "".join(f"{to_line(entry)}\n" for entry in entries).encode()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.size() + len(content) > self._limit:
                return False
            self._write(content)
        except OSError:
            return False
        return True

    def size(self) -> int:
        """Bytes that wait."""
        total = 0
        for path in self.files():
            with suppress(OSError):  # another process has just stored it
                total += path.stat().st_size
        return total

    def files(self) -> list[Path]:
        """What waits, oldest first."""
        return sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []

    def read(self, path: Path) -> list[Entry]:
        """Read a file; lines that a failing disk has damaged are left out.

        Raises:
            FileNotFoundError: another process has stored it.
        """
        found = []
        for line in path.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(from_line(line))
        return found

    def remove(self, path: Path) -> None:
        """Forget what is stored."""
        path.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        place = self._folder / f"{time.time_ns():020d}-{os.getpid()}{_SUFFIX}"
        unfinished = place.with_suffix(".part")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(place)
