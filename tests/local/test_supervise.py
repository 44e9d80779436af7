import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from readmission.errors import ServiceDownError
from readmission.local.process import Child, Program, child_environment
from readmission.local.supervise import MAX_RESTARTS, Supervised, wait_until_ready

STAY = "print('ready', flush=True); import time; time.sleep(600)"


class Script:
    """A service that is a few lines of Python; ready once it has printed ``ready``."""

    name = "script"
    title = "Script"

    def __init__(self, folder: Path, source: str, *, passing: str = "") -> None:
        self.folder = folder
        self.source = source
        self.passing = passing
        self.provisioned = 0

    def ports(self) -> list[tuple[int, str]]:
        return []

    def program(self) -> Program:
        return Program(self.name, (sys.executable, "-c", self.source), child_environment(), self.folder)

    def is_ready(self, child: Child) -> bool:
        return child.last_log_line() == "ready"

    def provision(self) -> None:
        self.provisioned += 1

    def may_retry(self, log_line: str, /) -> bool:
        return bool(self.passing) and self.passing in log_line


Make = Callable[..., Supervised]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, lines: list[str]) -> Iterator[Make]:
    units: list[Supervised] = []

    def build(service: Script, timeout: float = 30) -> Supervised:
        units.append(Supervised(service, tmp_path / "logs", timeout, lines.append))
        return units[-1]

    yield build
    for unit in units:
        if unit.child is not None:
            unit.child.stop(1)


def kill(unit: Supervised) -> int:
    assert unit.child is not None
    os.kill(unit.child.pid, signal.SIGKILL)
    while unit.child.exit_code is None:
        time.sleep(0.01)
    unit.child.log.write_text("")
    return unit.child.pid


def test_waits_until_ready_and_provisions_once(make: Make, tmp_path: Path, lines: list[str]) -> None:
    service = Script(tmp_path, STAY)
    unit = make(service)
    unit.spawn()
    wait_until_ready([unit])
    assert service.provisioned == 1
    assert len(lines) == 1
    assert lines[0].startswith("Script is ready")


def test_a_death_while_starting_is_reported_at_once_with_its_last_words(make: Make, tmp_path: Path) -> None:
    unit = make(Script(tmp_path, "print('no room left'); raise SystemExit(1)"), timeout=10_000)
    unit.spawn()
    with pytest.raises(ServiceDownError) as error:
        wait_until_ready([unit])
    assert "no room left" in str(error.value)
    assert str(tmp_path / "logs" / "script.log") in str(error.value)
    assert "\n" not in str(error.value)


def test_one_death_ends_the_wait_for_all(make: Make, tmp_path: Path) -> None:
    slow = make(Script(tmp_path, "import time; time.sleep(600)"), timeout=10_000)
    dying = make(Script(tmp_path, "raise SystemExit(1)"))
    slow.spawn()
    dying.spawn()
    with pytest.raises(ServiceDownError):
        wait_until_ready([slow, dying])


def test_taking_too_long_is_reported(make: Make, tmp_path: Path) -> None:
    unit = make(Script(tmp_path, "import time; time.sleep(600)"), timeout=0.2)
    unit.spawn()
    with pytest.raises(ServiceDownError, match="does not answer"):
        wait_until_ready([unit])


def test_a_passing_obstacle_is_tried_again(make: Make, tmp_path: Path) -> None:
    source = f"""
import pathlib, time
seen = pathlib.Path({str(tmp_path / "seen")!r})
if not seen.exists():
    seen.touch()
    print("still in use")
    raise SystemExit(1)
{STAY}
"""
    unit = make(Script(tmp_path, source, passing="still in use"))
    unit.spawn()
    wait_until_ready([unit])
    assert (tmp_path / "seen").exists()


def test_asking_before_the_start_is_an_error(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ServiceDownError, match="has not been started"):
        make(Script(tmp_path, STAY)).became_ready()


def test_a_living_child_is_left_alone(make: Make, tmp_path: Path) -> None:
    unit = make(Script(tmp_path, STAY))
    unit.restart_if_ended()
    assert unit.child is None
    unit.spawn()
    wait_until_ready([unit])
    first = unit.child
    unit.restart_if_ended()
    assert unit.child is first


def test_restarts_are_reported_and_bounded(make: Make, tmp_path: Path, lines: list[str]) -> None:
    unit = make(Script(tmp_path, STAY))
    unit.spawn()
    wait_until_ready([unit])
    for _ in range(MAX_RESTARTS):
        pid = kill(unit)
        unit.restart_if_ended()
        assert unit.child is not None
        assert unit.child.pid != pid
    assert sum("ended unexpectedly" in line for line in lines) == MAX_RESTARTS
    kill(unit)
    with pytest.raises(ServiceDownError, match=f"ended {MAX_RESTARTS + 1} times"):
        unit.restart_if_ended()
