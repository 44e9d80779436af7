"""Cache of verified files, ``<home>/data/<sha256>.csv``, with an index of the sources they came from.

A file is renamed to its final name after all checks. The index only saves work: without an entry the file is hashed and
the source is read again, so a lost update (two processes write at the same moment) does no harm.
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
    """The dataset of a source, and the state of the source when it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Dataset
    state: str


class Index(BaseModel):
    """Entries by source; and by digest, the state of each cached file when it was last hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, Entry] = {}
    files: dict[str, str] = {}


class Cache:
    """Verified data files by their SHA-256.

    Args:
        home: the folder of all local state.

    Raises:
        BadInputError: from every method, if the disk is full or the folder cannot be read or written.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "data"

    def find(self, key: str, state: str) -> Dataset | None:
        """The dataset of a source, if the source has not changed and the cached file is intact."""
        entry = self._read().sources.get(key)
        found = entry is not None and entry.state == state and self.path(entry.dataset.sha256) is not None
        return entry.dataset if entry and found else None

    def rows(self, sha256: str) -> int | None:
        """Number of rows of a cached file, None if the index has no entry for it."""
        known = (entry.dataset for entry in self._read().sources.values())
        rows = next((dataset.rows for dataset in known if dataset.sha256 == sha256), None)
        return rows if self.path(sha256) else None

    def path(self, sha256: str) -> Path | None:
        """The cached file with that digest, or None; hashed again if its size or modification time has changed."""
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
        """A temporary folder on the same disk for files that are not verified yet.

        Raises:
            BadInputError: also if the caller cannot write a file there.
        """
        with self._plain_errors():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.folder, prefix=".staging-") as folder:
                yield Path(folder)

    def add(self, staged: Path, sha256: str) -> Path:
        """Add a verified file with that digest; ``staged`` is moved."""
        path = self.folder / f"{sha256}.csv"
        with self._plain_errors():
            staged.replace(path)
            self._remember(self._read(), sha256)
        return path

    def record(self, key: str, state: str, dataset: Dataset) -> None:
        """Save the dataset of a source in the index."""
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
            raise  # the reader of the progress output has gone
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BadInputError(
                f"Cannot use the folder {self.folder} ({reason}): free space there, or set READMISSION_HOME"
            ) from None


def file_state(path: Path) -> str:
    """Size and modification time: a file with the same state is taken to be unchanged."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
