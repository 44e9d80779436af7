"""Bundles on disk: whole or absent, the last two, whatever happened before."""

import json
import os
import time
from pathlib import Path

import pytest

from readmission.mlflow_rest import ModelVersion
from readmission.serving.inference.model_cache import POINTER_NAME, VERSION_NAME, ModelCache


def version(number: int, run_id: str = "r") -> ModelVersion:
    return ModelVersion(
        name="m", version=str(number), source=f"mlflow-artifacts:/1/{run_id}/artifacts/b", run_id=run_id
    )


def put(cache: ModelCache, named: ModelVersion, content: str = "x") -> None:
    with cache.workspace() as folder:
        (folder / "model.onnx").write_text(content)
        cache.put(folder, named)
    cache.set_newest(named)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def cache(folder: Path) -> ModelCache:
    return ModelCache(folder)


def test_an_empty_shelf_has_nothing(cache: ModelCache, folder: Path) -> None:
    assert cache.versions() == []
    assert cache.find(version(1)) is None
    assert not folder.exists()


def test_what_was_put_is_found_under_its_version(cache: ModelCache, folder: Path) -> None:
    put(cache, version(3))
    assert cache.versions() == [version(3)]
    assert cache.find(version(3)) == folder / "3"
    assert (folder / "3" / "model.onnx").read_text() == "x"


def test_only_the_last_two_stay(cache: ModelCache, folder: Path) -> None:
    for number in (1, 2, 3):
        put(cache, version(number))
    assert cache.versions() == [version(3), version(2)]
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3", POINTER_NAME]


def test_a_roll_back_keeps_both(cache: ModelCache) -> None:
    put(cache, version(1))
    put(cache, version(2))
    cache.set_newest(version(1))
    assert cache.versions() == [version(1), version(2)]


def test_the_same_number_of_another_run_is_another_version(cache: ModelCache, folder: Path) -> None:
    put(cache, version(1, "old"), "old")
    assert cache.find(version(1, "new")) is None
    put(cache, version(1, "new"), "new")
    assert cache.find(version(1, "old")) is None
    assert cache.find(version(1, "new")) == folder / "1"
    assert (folder / "1" / "model.onnx").read_text() == "new"


def test_a_workspace_leaves_nothing(cache: ModelCache, folder: Path) -> None:
    def fail() -> None:
        with cache.workspace() as inside:
            (inside / "model.onnx").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(folder.iterdir()) == []


def test_workspaces_of_killed_processes_are_cleared_but_live_ones_stay(cache: ModelCache, folder: Path) -> None:
    put(cache, version(1))
    stale, live = folder / ".incoming-stale", folder / ".incoming-live"
    stale.mkdir()
    live.mkdir()
    long_ago = time.time() - 7200
    os.utime(stale, (long_ago, long_ago))
    cache.set_newest(version(1))
    assert not stale.exists()
    assert live.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"versions": 1}', b"\xff", b'{"versions": ["../.."]}'])
def test_a_broken_pointer_is_an_empty_shelf(cache: ModelCache, folder: Path, content: bytes) -> None:
    put(cache, version(1))
    (folder / POINTER_NAME).write_bytes(content)
    assert cache.versions() == []
    put(cache, version(2))
    assert cache.versions() == [version(2)]


def test_a_folder_without_its_name_is_left_out(cache: ModelCache, folder: Path) -> None:
    put(cache, version(1))
    put(cache, version(2))
    (folder / "2" / VERSION_NAME).unlink()
    assert cache.versions() == [version(1)]


def test_the_pointer_is_never_seen_half_written(cache: ModelCache, folder: Path) -> None:
    put(cache, version(1))
    before = (folder / POINTER_NAME).stat().st_ino
    cache.set_newest(version(1))
    assert (folder / POINTER_NAME).stat().st_ino != before  # replaced, not written over
    assert json.loads((folder / POINTER_NAME).read_text()) == {"versions": ["1"]}
