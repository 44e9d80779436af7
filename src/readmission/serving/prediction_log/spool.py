"""Records on disk while the database is away; a file gets its name when it is complete.

Single records are lines of JSON; a batch is a file of its own, MessagePack around the bytes that COPY will read. Files
survive the process, killed or not; the last of them may not survive the machine's loss of power, for which every answer
would have to wait for the disk.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from readmission.serving.prediction_log.records import BatchRecord, LogRecord, from_line, to_line

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(BatchRecord).decode
_SUFFIX = ".ndjson"
_BATCH_SUFFIX = ".batch"


class Spool:
    """A folder of waiting records. Several processes may share it; a record that two of them store is stored once.

    Args:
        folder: made when first needed.
        limit: bytes that may wait.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def add(self, records: Sequence[LogRecord]) -> bool:
        """Write records; False where the limit, or the disk, leaves no room."""
        singles = [record for record in records if not isinstance(record, BatchRecord)]
        files = [(_encode(record), _BATCH_SUFFIX) for record in records if isinstance(record, BatchRecord)]
        if singles:
            files.append(("".join(f"{to_line(record)}\n" for record in singles).encode(), _SUFFIX))
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.size() + sum(len(content) for content, _ in files) > self._limit:
                return False
            for content, ending in files:
                self._write(content, ending)
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
        """Files that wait, oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if path.suffix in (_SUFFIX, _BATCH_SUFFIX))

    def read(self, path: Path) -> list[LogRecord]:
        """Read a file; what a failing disk has damaged is left out.

        Raises:
            FileNotFoundError: another process has stored it.
        """
        found: list[LogRecord] = []
        if path.suffix == _BATCH_SUFFIX:
            content = path.read_bytes()
            with suppress(msgspec.DecodeError):
                found.append(_decode(content))
            return found
        for line in path.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(from_line(line))
        return found

    def remove(self, path: Path) -> None:
        """Remove a file whose records are stored."""
        path.unlink(missing_ok=True)

    def _write(self, content: bytes, ending: str) -> None:
        path = self._folder / f"{time.time_ns():020d}-{os.getpid()}{ending}"
        unfinished = path.with_suffix(".part")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        unfinished.replace(path)
