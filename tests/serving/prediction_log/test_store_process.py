"""The process that stores: what a store does, and what happens when it is killed, frozen or left alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import psycopg
import pytest
from pydantic import SecretStr
from test_sql import batch, prediction, rows

from processes import eventually, is_alive
from readmission.serving.inference.decoding import decode_csv
from readmission.serving.prediction_log import store_process
from readmission.serving.prediction_log.records import FeedbackRecord
from readmission.serving.prediction_log.store_process import StoreProcess
from readmission.settings import Settings


@pytest.fixture
def store(platform: Settings) -> Iterator[StoreProcess]:
    assert platform.platform_database_url is not None
    made = StoreProcess(platform.platform_database_url)
    yield made
    made.close()


def child_of(store: StoreProcess) -> psutil.Process:
    assert store._child is not None
    return psutil.Process(store._child.pid)


def count(platform: Settings) -> object:
    return rows(platform, "SELECT count(*) FROM predictions")[0][0]


def test_entries_of_every_kind_are_stored(store: StoreProcess, platform: Settings) -> None:
    record = prediction(race='a\tb\n\\"ü')
    many, _, _ = batch(decode_csv(b"race\nAsian\nHispanic\n"))
    store.write([record, many, FeedbackRecord(record.id, 1.6e9, "<30")])
    assert count(platform) == 3
    kept = rows(platform, f"SELECT features FROM predictions WHERE id = '{record.id}'")
    assert kept == [({"race": 'a\tb\n\\"ü'},)]
    assert rows(platform, "SELECT readmitted FROM feedback") == [("<30",)]
    assert store.drop_old(1) == 3


def test_one_child_does_it_all_and_ends_in_the_end(store: StoreProcess) -> None:
    store.write([prediction()])
    child = child_of(store)
    store.write([prediction()])
    assert child_of(store) == child
    store.close()
    assert not child.is_running()


def test_neither_password_nor_address_can_be_read_from_outside(store: StoreProcess, platform: Settings) -> None:
    store.write([prediction()])
    assert platform.platform_database_url is not None
    url = platform.platform_database_url.get_secret_value()
    child = child_of(store)
    assert url not in " ".join(child.cmdline())
    assert url not in child.environ().values()


def test_what_the_database_refuses_is_told_apart_from_its_absence(store: StoreProcess, platform: Settings) -> None:
    with pytest.raises(psycopg.DataError):
        store.write([prediction(), FeedbackRecord("no uuid", 1.0, "NO")])
    assert count(platform) == 0
    away = StoreProcess(SecretStr("postgresql://nobody:x@127.0.0.1:9/nothing"))
    with pytest.raises(psycopg.OperationalError) as raised:
        away.write([prediction()])
    assert "nobody" not in str(raised.value)
    away.close()


def test_a_killed_child_is_an_error_and_the_next_one_goes_on(store: StoreProcess, platform: Settings) -> None:
    store.write([prediction()])
    child_of(store).kill()
    with pytest.raises(psycopg.OperationalError):
        store.write([prediction()])
    store.write([prediction()])
    assert count(platform) == 2


def test_a_frozen_child_is_given_up(store: StoreProcess, platform: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_process, "WAIT_SECONDS", 2.0)
    store.write([prediction()])
    child = child_of(store)
    child.suspend()
    with pytest.raises(psycopg.OperationalError):
        store.write([prediction()])
    assert not child.is_running()
    store.write([prediction()])
    assert count(platform) == 2


def test_signals_leave_it_alone_and_it_ends_with_its_parent(platform: Settings) -> None:
    assert platform.platform_database_url is not None
    script = (
        "import sys, time\n"
        "from pydantic import SecretStr\n"
        "from readmission.serving.prediction_log.store_process import StoreProcess\n"
        "store = StoreProcess(SecretStr(sys.stdin.readline()))\n"
        "store.drop_old(1)\n"
        "print(store._child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(platform.platform_database_url.get_secret_value())
        parent.stdin.close()
        child = psutil.Process(int(parent.stdout.readline()))
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(child.pid, number)
        assert is_alive(child)
        parent.kill()
        assert eventually(lambda: not is_alive(child))
