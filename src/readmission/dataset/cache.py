"""The verified files of this machine, ``<home>/data/<sha256>.csv``, and an index of the sources they came from.

A file gets its name only after all checks, at once. The index only saves work: without it files are hashed again and
sources read again, so losing an entry to another process at the same moment does no harm.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError

from readmission.dataset.source_file import Dataset
from readmission.errors import BadInputError

INDEX_NAME = "index.json"


class Entry(BaseModel):
    """What a source gave, and the state of the source then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Dataset
    state: str


class Index(BaseModel):
    """Entries by source, and the state of each cached file by digest when it was last hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, Entry] = {}
    files: dict[str, str] = {}


class Cache:
    """Verified data files by their SHA-256.

    Args:
        home: the folder of all local state.

    Raises:
        BadInputError: by every method, where the disk is full or the folder cannot be read or written.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "data"

    def find(self, key: str, state: str) -> Dataset | None:
        """What the source gave, if its state is still the same and the file is still here, whole."""
        entry = self._read().sources.get(key)
        found = entry is not None and entry.state == state and self.path(entry.dataset.sha256) is not None
        return entry.dataset if entry and found else None

    def rows(self, sha256: str) -> int | None:
        """Rows of a verified file of which an index entry is left, else None."""
        known = (entry.dataset for entry in self._read().sources.values())
        rows = next((dataset.rows for dataset in known if dataset.sha256 == sha256), None)
        return rows if self.path(sha256) else None

    def path(self, sha256: str) -> Path | None:
        """The file of that digest, or None; hashed again if its size or time of change is not the remembered one."""
        path = self.folder / f"{sha256}.csv"
        with self._plain_errors():
            if not path.is_file():
                return None
            index = self._read()
            if index.files.get(sha256) != file_state(path):
                if hash_file(path) != sha256:
                    return None
                self._remember(index, sha256)
            return path

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder on the same disk for files that are not verified yet; gone afterwards.

        Raises:
            BadInputError: also for what the caller cannot write there.
        """
        with self._plain_errors():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.folder, prefix=".staging-") as folder:
                yield Path(folder)

    def add(self, staged: Path, sha256: str) -> Path:
        """Take in a checked file of that digest; ``staged`` is moved."""
        path = self.folder / f"{sha256}.csv"
        with self._plain_errors():
            staged.replace(path)
            self._remember(self._read(), sha256)
        return path

    def record(self, key: str, state: str, dataset: Dataset) -> None:
        """Remember what a source gave."""
        index = self._read()
        entry = Entry(dataset=dataset, state=state)
        self._write(index.model_copy(update={"sources": {**index.sources, key: entry}}))

    def _remember(self, index: Index, sha256: str) -> None:
        state = file_state(self.folder / f"{sha256}.csv")
        self._write(index.model_copy(update={"files": {**index.files, sha256: state}}))

    def _read(self) -> Index:
        with self._plain_errors():
            try:
                return Index.model_validate_json((self.folder / INDEX_NAME).read_bytes())
            except (FileNotFoundError, ValidationError):
                return Index()

    def _write(self, index: Index) -> None:
        with self.staging() as folder:
            part = folder / INDEX_NAME
            part.write_text(index.model_dump_json(indent=1))
            part.replace(self.folder / INDEX_NAME)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise  # whoever read our progress went away
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BadInputError(
                f"Cannot use the folder {self.folder} ({reason}): free space there, or set READMISSION_HOME"
            ) from None


def file_state(path: Path) -> str:
    """Size and time of last change: what tells that a file was not touched."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
