"""Which tests share a worker and in what order, which wait until they are alone, and which need no server.

Two workers of pytest-xdist run the tests of ``make test``. A module stays on one worker, so that what its fixtures made
serves all of it; modules that look at the same finished run stay together. The longest group is begun first, by the
times in ``times.json``. A worker that gets to the tests marked ``alone``, which are last, waits for the other to end.
"""

import fcntl
import os
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

from timing import TESTS, Times, committed_times

SHARED_RUN = "finished"
"""Fixture that takes a whole run of the pipeline: modules that use it are one group."""

SERVER_FOLDERS = ("dags", "e2e", "local")
SERVER_FIXTURES = {"stack", "api_process"}
SLOW_SECONDS = 1.0
"""A test that took so long is left out of ``make test-fast``."""
SLOW_FIXTURES = {"fits", "real_csv"}
"""What is made once for many tests counts for the first of them alone, so it is named."""

_RUNNING = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Explain the marks."""
    for mark in (
        "alone: asserts rates or waiting times, and runs when no other test does",
        "server: needs servers or processes of its own (given by the folder or the fixtures)",
        "slow: took a second or more when times.json was written (given by that table or the fixtures)",
    ):
        config.addinivalue_line("markers", mark)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark and group; under xdist also order."""
    times = committed_times()
    shared = {item.path for item in items if SHARED_RUN in _fixtures(item)}
    for item in items:
        _mark(item, times)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item, shared)))
    if "workerinput" in config.__dict__:
        items[:] = _longest_first(items, times)


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _group(item: pytest.Item, shared: set[Path]) -> str:
    if item.get_closest_marker("alone"):
        return "alone"
    return "finished run" if item.path in shared else item.path.relative_to(TESTS).as_posix()


def _mark(item: pytest.Item, times: Times) -> None:
    if item.path.relative_to(TESTS).parts[0] in SERVER_FOLDERS or SERVER_FIXTURES & _fixtures(item):
        item.add_marker("server")
    if times.tests.get(item.nodeid, 0.0) >= SLOW_SECONDS or SLOW_FIXTURES & _fixtures(item):
        item.add_marker("slow")


def _longest_first(items: list[pytest.Item], times: Times) -> list[pytest.Item]:
    groups: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        assert mark is not None
        groups[mark.args[0]].append(item)
    seconds = {
        name: sum(
            times.modules.get(path, 0.0) for path in {member.path.relative_to(TESTS).as_posix() for member in group}
        )
        for name, group in groups.items()
    }
    ordered = sorted(groups, key=lambda name: (name == "alone", -seconds[name], name))
    return [item for name in ordered for item in groups[name]]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let tests that must be alone know that this worker runs, until its session or its process ends."""
    if "workerinput" in session.config.__dict__:
        session.stash[_RUNNING] = os.open(__file__, os.O_RDONLY)
        fcntl.flock(session.stash[_RUNNING], fcntl.LOCK_SH)


@pytest.hookimpl(trylast=True)  # after the fixtures' servers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """It runs no longer."""
    lock = session.stash.get(_RUNNING, None)
    if lock is not None:
        os.close(lock)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around pytest-timeout's: waiting is not the test's time
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """A test that is to be alone waits until all other workers have ended."""
    lock = item.session.stash.get(_RUNNING, None)
    if lock is not None and item.get_closest_marker("alone"):
        fcntl.flock(lock, fcntl.LOCK_EX)
    return (yield)
