"""The log of predictions: nothing lost while the database comes and goes, and every loss counted."""

import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from processes import eventually
from readmission.serving.prediction_log import log as prediction_log
from readmission.serving.prediction_log.log import PredictionLog
from readmission.serving.prediction_log.records import (
    FeedbackRecord,
    LogRecord,
    PredictionRecord,
    from_line,
    record_json,
    to_line,
)
from readmission.serving.prediction_log.spool import Spool
from readmission.serving.telemetry.ids import prediction_id


def prediction(number: int, **features: str | int | None) -> PredictionRecord:
    return PredictionRecord(
        prediction_id(time.time()), float(number), "7", record_json(features), (0.5, 0.25, 0.25), "NO"
    )


class FickleStore:
    """A database that can be told to go away."""

    def __init__(self) -> None:
        self.up = True
        self.error: psycopg.Error = psycopg.OperationalError("away")
        self.poison: set[str] = set()
        self.records: list[LogRecord] = []
        self.dropped: list[int] = []
        self.failures = 0
        self.closed = False

    def write(self, records: Sequence[LogRecord]) -> None:
        if not self.up:
            self.failures += 1
            raise self.error
        if any(isinstance(record, PredictionRecord) and record.id in self.poison for record in records):
            raise psycopg.DataError("poison")
        self.records += records

    def drop_old(self, days: int) -> int:
        if not self.up:
            raise self.error
        self.dropped.append(days)
        return 0

    def close(self) -> None:
        self.closed = True


class Tally:
    """Counts as the metrics do."""

    def __init__(self) -> None:
        self.stored = self.dropped = self.spooled = 0
        self.reachable = True

    def logged(self, stored: int, dropped: int) -> None:
        self.stored += stored
        self.dropped += dropped

    def waiting(self, queued: int, spooled: int, reachable: bool) -> None:
        self.spooled, self.reachable = spooled, reachable


class Set:
    """A log with everything around it."""

    def __init__(self, folder: Path, limit: int = 1000, spool: int = 1 << 20, days: int = 0) -> None:
        self.store, self.tally = FickleStore(), Tally()
        self.spool = Spool(folder / "spool", spool)
        self.log = PredictionLog(self.store, self.spool, self.tally, limit, days)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(prediction_log, "RETRY_SECONDS", 0.05)


def test_entries_arrive_in_order(tmp_path: Path) -> None:
    made = Set(tmp_path)
    records = [prediction(number) for number in range(50)]
    made.log.start()
    for record in records:
        made.log.put(record)
    assert eventually(lambda: len(made.store.records) == 50)
    made.log.stop()
    assert made.store.records == records
    assert made.tally.stored == 50
    assert made.store.closed


def test_stopping_stores_what_is_queued(tmp_path: Path) -> None:
    made = Set(tmp_path)
    for number in range(5):
        made.log.put(prediction(number))
    made.log.stop()
    assert len(made.store.records) == 5


def test_nothing_is_lost_while_the_database_is_away(tmp_path: Path) -> None:
    made = Set(tmp_path)
    made.store.up = False
    made.log.start()
    records = [prediction(number, race="Asian") for number in range(20)]
    for record in records:
        made.log.put(record)
    assert eventually(lambda: made.tally.spooled > 0 and not made.tally.reachable)
    made.store.up = True
    assert eventually(lambda: len(made.store.records) == 20)
    assert eventually(lambda: made.tally.spooled == 0 and made.tally.reachable)
    made.log.stop()
    assert sorted(record.at for record in made.store.records) == [record.at for record in records]
    assert made.tally.dropped == 0


@pytest.mark.parametrize(
    "error", [psycopg.errors.UndefinedTable("no table"), psycopg.OperationalError("UndefinedTable")]
)
def test_a_database_that_comes_up_without_tables_is_reported_once(
    error: psycopg.Error, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In containers the API may start first of all; the error is the store's own, or what its process makes of it."""
    made = Set(tmp_path)
    made.store.up = False
    made.log.start()
    made.log.put(prediction(1))
    assert eventually(lambda: "(OperationalError)" in caplog.text)
    made.store.error = error
    assert eventually(lambda: "readmission migrate" in caplog.text)
    failures = made.store.failures
    assert eventually(lambda: made.store.failures >= failures + 3)
    made.store.up = True
    assert eventually(lambda: len(made.store.records) == 1)
    made.log.stop()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "Predictions cannot be stored (OperationalError); they wait on disk",
        "Predictions cannot be stored (platform_db has no tables yet: run `readmission migrate`); they wait on disk",
    ]


def test_what_waits_on_disk_survives_a_restart(tmp_path: Path) -> None:
    first = Set(tmp_path)
    first.store.up = False
    records = [prediction(1, race="Asian"), FeedbackRecord(prediction_id(2.0), 2.0, "<30")]
    for record in records:
        first.log.put(record)
    first.log.stop()
    assert first.spool.size() > 0
    second = Set(tmp_path)
    second.log.start()
    assert eventually(lambda: len(second.store.records) == 2)
    second.log.stop()
    assert second.store.records == records


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    made = Set(tmp_path, limit=3)
    for number in range(10):
        made.log.put(prediction(number))
    assert made.tally.dropped == 7
    made.log.stop()
    assert len(made.store.records) == 3


def test_a_full_spool_drops_and_counts(tmp_path: Path) -> None:
    made = Set(tmp_path, spool=100)
    made.store.up = False
    for number in range(10):
        made.log.put(prediction(number))
    made.log.stop()
    assert made.tally.dropped == 10
    assert made.spool.files() == []


def test_an_entry_that_the_database_refuses_keeps_no_other_out(tmp_path: Path) -> None:
    made = Set(tmp_path)
    records = [prediction(number) for number in range(5)]
    made.store.poison = {records[2].id}
    for record in records:
        made.log.put(record)
    made.log.stop()
    assert made.store.records == [record for record in records if record is not records[2]]
    assert (made.tally.stored, made.tally.dropped) == (4, 1)


def test_old_predictions_are_dropped_if_so_set(tmp_path: Path) -> None:
    for days, expected in ((0, []), (30, [30])):
        made = Set(tmp_path / str(days), days=days)
        made.log.start()
        time.sleep(0.1)
        made.log.stop()
        assert made.store.dropped == expected


def test_a_database_that_starts_later_is_noticed_without_a_prediction(tmp_path: Path) -> None:
    made = Set(tmp_path, days=30)
    made.store.up = False
    made.log.start()
    assert eventually(lambda: not made.tally.reachable)
    made.store.up = True
    assert eventually(lambda: made.tally.reachable)
    made.log.stop()
    assert made.store.dropped == [30]


def test_files_on_disk_are_for_their_owner_only(tmp_path: Path) -> None:
    made = Set(tmp_path)
    assert made.spool.add([prediction(1)])
    (path,) = made.spool.files()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    record = prediction(1)
    (tmp_path / "1.ndjson").write_text(f"{to_line(record)[:40]}\n{to_line(record)}\n[1]\n7\n{{}}\n")
    assert spool.read(spool.files()[0]) == [record]


@pytest.mark.parametrize(
    "record", [prediction(1, race='A\u00e4\\"\t', age=None), FeedbackRecord(prediction_id(1.0), 1.5, "NO")]
)
def test_lines_hold_whole_entries(record: LogRecord) -> None:
    assert from_line(to_line(record)) == record


def test_ids_are_uuids_in_the_order_of_time() -> None:
    ids = [prediction_id(second) for second in (1.0, 2.0, 1e9, 2e9)]
    assert ids == sorted(ids)
    assert all(text[14] == "7" and text[19] in "89ab" and len(text) == 36 for text in ids)
    assert len({prediction_id(5.0) for _ in range(1000)}) == 1000
