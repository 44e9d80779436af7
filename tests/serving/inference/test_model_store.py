"""The store serves the last good model, whatever its neighbours do."""

import asyncio
import logging
import shutil
import threading
from pathlib import Path

import pytest
from faulty_mlflow import ARTIFACTS, FaultyMlflow, json_answer
from running_api import NOWHERE, put_in_cache
from serving_bundle import MODEL_NAME, MadeBundle, edit_json

from readmission.mlflow_rest import MlflowRest
from readmission.model_bundle import files as bundle
from readmission.serving.inference import model_store
from readmission.serving.inference.model_cache import ModelCache
from readmission.serving.inference.model_store import ModelStore
from readmission.serving.inference.scorer import Scorer

LOGGER = model_store.__name__


class Watched:
    """A store with all that it touches."""

    def __init__(self, home: Path, url: str) -> None:
        self.cache = ModelCache(home / "serving")
        self.swaps: list[Scorer] = []
        self.store = ModelStore(MODEL_NAME, MlflowRest(url, 5.0), self.cache, 0.01, self.swaps.append)

    def refresh(self) -> None:
        asyncio.run(self.store.refresh())

    @property
    def version(self) -> str | None:
        return self.store.current.version if self.store.current else None


@pytest.fixture
def watched(tmp_path: Path, mlflow: FaultyMlflow) -> Watched:
    return Watched(tmp_path / "home", mlflow.url)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER and record.levelno > logging.INFO]


def test_nothing_published_is_no_model(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.store.load_last_good()
    watched.refresh()
    assert watched.store.current is None
    assert messages(caplog) == []


def test_a_published_version_is_loaded_and_kept(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle
) -> None:
    published = mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    assert watched.version == "1"
    assert [scorer.version for scorer in watched.swaps] == ["1"]
    assert watched.cache.versions() == [published]


def test_an_unmoved_alias_costs_one_request(watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    before = len(mlflow.requests)
    watched.refresh()
    assert len(mlflow.requests) == before + 1
    assert len(watched.swaps) == 1


def test_the_next_version_takes_over(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle, linear_bundle: MadeBundle
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    old = watched.store.current
    mlflow.publish("2", linear_bundle.folder)
    watched.refresh()
    assert watched.version == "2"
    assert old is not None
    assert old.score({}).version == "1"  # a request that still holds it finishes on it


def test_a_roll_back_needs_no_download(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle, linear_bundle: MadeBundle
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    mlflow.publish("2", linear_bundle.folder)
    watched.refresh()
    mlflow.faults[ARTIFACTS] = lambda: json_answer({}, 500)
    mlflow.production = "1"
    watched.refresh()
    assert watched.version == "1"


def test_a_damaged_folder_is_fetched_again(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle, linear_bundle: MadeBundle, tmp_path: Path
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    mlflow.publish("2", linear_bundle.folder)
    watched.refresh()
    (tmp_path / "home" / "serving" / "1" / bundle.MODEL_FILE).write_bytes(b"rot")
    mlflow.production = "1"
    watched.refresh()
    assert watched.version == "1"
    restarted = Watched(tmp_path / "home", NOWHERE)
    restarted.store.load_last_good()
    assert restarted.version == "1"


def test_old_versions_leave_the_disk(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle, tmp_path: Path
) -> None:
    for version in ("1", "2", "3", "4"):
        mlflow.publish(version, tree_bundle.folder)
        watched.refresh()
    folders = {path.name for path in (tmp_path / "home" / "serving").iterdir() if path.is_dir()}
    assert folders == {"3", "4"}


def test_another_registry_with_the_same_number_is_noticed(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle, linear_bundle: MadeBundle
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    mlflow.publish("1", linear_bundle.folder, "mlflow-artifacts:/2/run1/artifacts/bundle")
    watched.refresh()
    assert watched.store.current is not None
    assert watched.store.current.metadata.model_type == "logistic_regression"


def test_a_start_needs_nobody(tmp_path: Path, tree_bundle: MadeBundle) -> None:
    put_in_cache(tmp_path, tree_bundle.folder, "5")
    watched = Watched(tmp_path, NOWHERE)
    watched.store.load_last_good()
    assert watched.version == "5"


def test_a_start_with_a_damaged_newest_takes_the_one_before(
    tmp_path: Path, tree_bundle: MadeBundle, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_cache(tmp_path, tree_bundle.folder, "5")
    put_in_cache(tmp_path, tree_bundle.folder, "6")
    (tmp_path / "serving" / "6" / bundle.ENCODER_FILE).write_text("{")
    watched = Watched(tmp_path, NOWHERE)
    watched.store.load_last_good()
    assert watched.version == "5"
    assert len(messages(caplog)) == 1


def test_a_start_does_not_take_another_model(tmp_path: Path, tree_bundle: MadeBundle) -> None:
    put_in_cache(tmp_path, tree_bundle.folder, "5")
    store = ModelStore("another_model", MlflowRest(NOWHERE), ModelCache(tmp_path / "serving"), 1.0, lambda _: None)
    store.load_last_good()
    assert store.current is None


def test_a_start_from_disk_does_not_fetch_the_same_version_again(
    mlflow: FaultyMlflow, tmp_path: Path, tree_bundle: MadeBundle
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    Watched(tmp_path, mlflow.url).refresh()
    restarted = Watched(tmp_path, mlflow.url)
    restarted.store.load_last_good()
    mlflow.requests.clear()
    restarted.refresh()
    assert len(mlflow.requests) == 1


@pytest.fixture
def broken_bundle(copied_bundle: Path) -> Path:
    """Whole, loadable, and wrong: the self-test finds out."""
    edit_json(copied_bundle / bundle.DECISION_FILE, weights=[1.0, 50.0, 1.0])
    return copied_bundle


def test_a_broken_version_is_refused_once_until_the_alias_moves(
    watched: Watched,
    mlflow: FaultyMlflow,
    tree_bundle: MadeBundle,
    broken_bundle: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    mlflow.publish("2", broken_bundle)
    watched.refresh()
    assert watched.version == "1"
    assert len(messages(caplog)) == 1
    assert "version 2" in messages(caplog)[0]
    assert "\n" not in messages(caplog)[0]

    before = len(mlflow.requests)
    for _ in range(3):
        watched.refresh()
    assert len(mlflow.requests) == before + 3  # only the alias is asked for
    assert len(messages(caplog)) == 1

    mlflow.production = "1"
    watched.refresh()
    mlflow.production = "2"
    watched.refresh()
    assert len(messages(caplog)) == 2
    assert watched.version == "1"
    assert [version.version for version in watched.cache.versions()] == ["1"]


def test_after_a_broken_version_the_next_good_one_serves(
    watched: Watched, mlflow: FaultyMlflow, broken_bundle: Path, linear_bundle: MadeBundle
) -> None:
    mlflow.publish("1", broken_bundle)
    watched.refresh()
    assert watched.store.current is None
    mlflow.publish("2", linear_bundle.folder)
    watched.refresh()
    assert watched.version == "2"


def test_a_removed_alias_leaves_the_model_in_service(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    mlflow.production = None
    watched.refresh()
    assert watched.version == "1"


FAULTS = {
    "alias fails": ("/api", json_answer({}, 500)),
    "alias is garbage": ("/api", (200, "application/json", b"\x00\xff")),
    "list fails": (f"{ARTIFACTS}?", json_answer({}, 503)),
    "list is garbage": (f"{ARTIFACTS}?", json_answer([1, 2])),
    "files fail": (f"{ARTIFACTS}/", json_answer({}, 500)),
    "files are a web page": (f"{ARTIFACTS}/", (200, "text/html", b"<html>")),
    "files are cut": (f"{ARTIFACTS}/", (200, "application/octet-stream", b"cut")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_trouble_with_mlflow_is_told_once_and_passes(
    watched: Watched,
    mlflow: FaultyMlflow,
    tree_bundle: MadeBundle,
    linear_bundle: MadeBundle,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    mlflow.publish("2", linear_bundle.folder)
    path, answer = FAULTS[fault]
    mlflow.faults[path] = lambda: answer
    for _ in range(3):
        watched.refresh()
    assert watched.version == "1"
    assert len(messages(caplog)) == 1
    mlflow.faults.clear()
    watched.refresh()
    assert watched.version == "2"


def test_a_slow_mlflow_is_given_up(
    watched: Watched, mlflow: FaultyMlflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(model_store, "LOOKUP_SECONDS", 0.05)
    mlflow.delay = 0.5
    watched.refresh()
    assert ["in time" in message for message in messages(caplog)] == [True]
    mlflow.delay = 0.0
    monkeypatch.undo()
    watched.refresh()
    assert len(messages(caplog)) == 1


def test_a_disk_that_takes_nothing_leaves_the_model_in_service(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "home").write_text("no folder any more")
    mlflow.publish("2", tree_bundle.folder)
    watched.refresh()
    assert watched.version == "1"
    assert len(messages(caplog)) == 1


def test_a_pointer_that_cannot_be_written_does_not_stop_a_new_version(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home" / "serving" / "current.json").mkdir(parents=True)
    mlflow.publish("1", tree_bundle.folder)
    watched.refresh()
    assert watched.version == "1"
    assert ["cannot be kept on disk" in message for message in messages(caplog)] == [True]


def test_watching_goes_on_until_cancelled(watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle) -> None:
    async def watch() -> None:
        task = asyncio.create_task(watched.store.watch())
        while watched.store.current is None:
            if len(mlflow.requests) == 3:
                mlflow.publish("1", tree_bundle.folder)
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(watch())
    assert watched.version == "1"


def test_the_event_loop_runs_on_while_a_version_loads(
    watched: Watched, mlflow: FaultyMlflow, tree_bundle: MadeBundle
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    mlflow.delay = 0.02
    threads: set[str] = set()
    watched.store._on_change = lambda _: threads.add(threading.current_thread().name)

    async def count_turns() -> int:
        task = asyncio.create_task(watched.store.refresh())
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(count_turns()) > 50
    assert threads == {threading.current_thread().name}  # the swap itself is the loop's, so no request sees half of it


def test_two_processes_may_share_a_folder(mlflow: FaultyMlflow, tree_bundle: MadeBundle, tmp_path: Path) -> None:
    mlflow.publish("1", tree_bundle.folder)
    both = [Watched(tmp_path, mlflow.url), Watched(tmp_path, mlflow.url)]
    threads = [threading.Thread(target=one.refresh) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.version for one in both] == ["1", "1"]
    restarted = Watched(tmp_path, NOWHERE)
    restarted.store.load_last_good()
    assert restarted.version == "1"
