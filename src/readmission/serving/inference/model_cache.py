"""Bundles on disk: one folder per version, and a pointer file that names the good ones, newest first."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from readmission.mlflow_rest import ModelVersion

POINTER_NAME = "current.json"
VERSION_NAME = "version.json"
KEPT = 2

_WORKSPACE_PREFIX = ".incoming-"
_STALE_SECONDS = 3600.0


class _Pointer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    versions: tuple[str, ...]


class ModelCache:
    """Versions that served, kept for a start without MLflow and for a fast roll back.

    Several server processes may share one: a folder appears by rename, the pointer is replaced in one step.

    Args:
        folder: made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def versions(self) -> list[ModelVersion]:
        """Versions that may be loaded, newest first; what is unreadable is left out."""
        found = (self._read_version(version) for version in self._pointed())
        return [version for version in found if version is not None]

    def find(self, version: ModelVersion) -> Path | None:
        """Folder of exactly this version (same run, same source), or None."""
        same = self._read_version(version.version) == version
        return self._place(version) if same else None

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A new folder on the same file system, gone afterwards unless it was put in place.

        Raises:
            OSError: the disk is full or read-only.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=_WORKSPACE_PREFIX, dir=self._folder))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def put(self, folder: Path, version: ModelVersion) -> None:
        """Move a loaded bundle from its workspace into its place.

        Raises:
            OSError: the disk is full or read-only, or another process was faster.
        """
        (folder / VERSION_NAME).write_text(version.model_dump_json())
        place = self._place(version)
        if place.exists():  # damaged, or another registry's version of the same number
            with self.workspace() as aside:
                place.rename(aside / place.name)
        folder.rename(place)

    def set_newest(self, version: ModelVersion) -> None:
        """Name the newest good version, and drop all but the last two.

        Raises:
            OSError: the disk is full or read-only.
        """
        others = [other for other in self._pointed() if other != version.version]
        versions = (version.version, *others)[:KEPT]
        self._write_pointer(_Pointer(versions=versions))
        self._prune(versions)

    def _place(self, version: ModelVersion) -> Path:
        return self._folder / version.version

    def _pointed(self) -> tuple[str, ...]:
        try:
            content = json.loads((self._folder / POINTER_NAME).read_bytes())
            return _Pointer.model_validate(content).versions
        except (OSError, ValueError):
            return ()

    def _read_version(self, version: str) -> ModelVersion | None:
        try:
            content = json.loads((self._folder / version / VERSION_NAME).read_bytes())
            return ModelVersion.model_validate(content)
        except (OSError, ValueError):
            return None

    def _write_pointer(self, pointer: _Pointer) -> None:
        descriptor, name = tempfile.mkstemp(prefix=_WORKSPACE_PREFIX, dir=self._folder)
        with os.fdopen(descriptor, "w") as file:
            file.write(pointer.model_dump_json())
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(self._folder / POINTER_NAME)

    def _prune(self, versions: tuple[str, ...]) -> None:
        for path in self._folder.iterdir():
            old = path.name.isdecimal() and path.name not in versions
            if old or (path.name.startswith(_WORKSPACE_PREFIX) and _is_stale(path)):
                shutil.rmtree(path, ignore_errors=True)


def _is_stale(path: Path) -> bool:
    """Whether a workspace was left behind by a process that was killed: downloads end within minutes."""
    try:
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    except OSError:
        return False
