import os
import subprocess
import sys
from pathlib import Path

import pytest

from readmission.errors import ServiceDownError
from readmission.local.lock import StackLock, is_locked, lock_path
from readmission.settings import Settings

HOLDER = """
import sys, time
from pathlib import Path
from readmission.local.lock import StackLock
from readmission.settings import Settings
StackLock(Settings(home=Path(sys.argv[1]))).acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def hold(settings: Settings) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(settings.home)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_nobody_holds_it_at_first(settings: Settings) -> None:
    assert not is_locked(settings)


def test_taken_and_given_back(settings: Settings) -> None:
    lock = StackLock(settings)
    assert lock.acquire() is False
    assert is_locked(settings)
    lock.release()
    assert not is_locked(settings)
    assert StackLock(settings).acquire() is False, "an orderly end leaves nothing to wait for"


def test_a_second_owner_is_told_who_is_first(settings: Settings) -> None:
    first = StackLock(settings)
    first.acquire()
    with pytest.raises(ServiceDownError) as error:
        StackLock(settings).acquire()
    assert str(os.getpid()) in str(error.value)
    assert "\n" not in str(error.value)
    first.release()


def test_another_process_is_told_too_and_a_killed_owner_frees_it(settings: Settings) -> None:
    holder = hold(settings)
    with pytest.raises(ServiceDownError, match=str(holder.pid)):
        StackLock(settings).acquire()
    holder.kill()
    holder.communicate()
    assert not is_locked(settings)
    lock = StackLock(settings)
    assert lock.acquire() is True, "the killed owner may have left children behind"
    lock.release()


def test_asking_does_not_disturb_an_owner_that_starts(settings: Settings) -> None:
    loop = (
        "import sys; from pathlib import Path; from readmission.local.lock import is_locked; "
        "from readmission.settings import Settings; print('up', flush=True)\n"
        "while True: is_locked(Settings(home=Path(sys.argv[1])))"
    )
    lock_path(settings).touch()
    asker = subprocess.Popen([sys.executable, "-c", loop, str(settings.home)], stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    asker.stdout.readline()
    for _ in range(50):
        lock = StackLock(settings)
        lock.acquire()
        lock.release()
    asker.kill()
    asker.communicate()


def test_releasing_what_was_never_taken_does_nothing(settings: Settings) -> None:
    StackLock(settings).release()
    assert not lock_path(settings).exists()
