"""Predictions in a real PostgreSQL: exact, once, and not waited for without end."""

import json
import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import psutil
import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from readmission.schema import LABELS
from readmission.serving.inference.batch import Scores
from readmission.serving.inference.decoding import decode_csv, decode_json
from readmission.serving.prediction_log import sql as prediction_store
from readmission.serving.prediction_log.batch_records import make_batch_record
from readmission.serving.prediction_log.records import BatchRecord, FeedbackRecord, PredictionRecord, record_json
from readmission.serving.prediction_log.sql import PredictionStore
from readmission.serving.telemetry.ids import id_texts, prediction_id, prediction_ids
from readmission.settings import Settings

ODD = {"race": 'a\tb\n\\"\x00\ud800ü', "diag_1": "250.83", "number_inpatient": 3, "weight": None, "patient_nbr": 77}


@pytest.fixture
def store(platform: Settings) -> Iterator[PredictionStore]:
    assert platform.platform_database_url is not None
    made = PredictionStore(platform.platform_database_url)
    yield made
    made.close()


def rows(platform: Settings, query: str) -> list[tuple[object, ...]]:
    assert platform.platform_database_url is not None
    with psycopg.connect(platform.platform_database_url.get_secret_value()) as connection:
        return connection.execute(query.encode()).fetchall()


def prediction(at: float = 1.5e9, **features: str | int | None) -> PredictionRecord:
    return PredictionRecord(prediction_id(at), at, "7", record_json(features), (0.1, 1 / 3, 1e-17), ">30")


def test_entries_are_kept_exactly(store: PredictionStore, platform: Settings) -> None:
    record = prediction(**ODD)
    store.write([record, FeedbackRecord(record.id, 1.6e9, "<30")])
    (row,) = rows(platform, "SELECT id::text, extract(epoch FROM at)::float8, model_version, features, probabilities,"
                  " readmission_class FROM predictions")  # fmt: skip
    assert row[:3] == (record.id, record.at, "7")
    assert row[3] == {"race": 'a\tb\n\\"\ufffd\ufffdü', "diag_1": "250.83", "number_inpatient": 3, "weight": None}
    assert row[4] == list(record.probabilities)
    assert row[5] == ">30"
    assert rows(platform, "SELECT prediction_id::text, readmitted FROM feedback") == [(record.id, "<30")]


def batch(raw: pa.Table, at: float = 1.5e9) -> tuple[BatchRecord, list[str], Scores]:
    chances = np.random.default_rng(1).dirichlet([1, 1, 1], raw.num_rows)
    scores = Scores(np.argmax(chances, axis=1), chances)
    ids = prediction_ids(at, raw.num_rows)
    return make_batch_record(raw, ids, scores.labels, scores.probabilities, "7", at), id_texts(ids).to_pylist(), scores


def test_a_batch_is_kept_exactly(store: PredictionStore, platform: Settings) -> None:
    odd = {"race": 'a\tb\n\r\\"\\N\x00ü', "diag_1": "250.83", "number_inpatient": 3, "weight": "?"}
    records = [odd, {"time_in_hospital": 14, "number_inpatient": "?"}, {"diag_1": "", "metformin-pioglitazone": "No"}]
    raw = decode_json(json.dumps({"records": records}).encode())
    record, ids, scores = batch(raw.select([*records[0], "time_in_hospital", "metformin-pioglitazone"]))
    store.write([record, prediction(), record])
    query = (
        "SELECT id::text, extract(epoch FROM at)::float8, model_version, probabilities, readmission_class, features"
        " FROM predictions WHERE id::text = ANY(ARRAY['{}']) ORDER BY id"
    )
    found = rows(platform, query.format("','".join(ids)))
    expected = zip(sorted(zip(ids, scores.labels, scores.probabilities.tolist(), strict=True)), strict=True)
    assert [row[:5] for row in found] == [
        (number, 1.5e9, "7", chances, LABELS[label]) for ((number, label, chances),) in expected
    ]
    by_id = {row[0]: row[5] for row in found}
    rest = {"metformin-pioglitazone": "?", "time_in_hospital": "?"}
    assert by_id[ids[0]] == {**odd, "race": 'a\tb\n\r\\"\\N\ufffdü', **rest}
    missing = dict.fromkeys([*odd, *rest], "?")
    assert by_id[ids[1]] == {**missing, "time_in_hospital": 14}
    assert by_id[ids[2]] == {**missing, "diag_1": "", "metformin-pioglitazone": "No"}
    assert rows(platform, "SELECT count(*) FROM predictions") == [(4,)]


def test_of_a_batch_only_the_columns_that_it_has_are_kept(store: PredictionStore, platform: Settings) -> None:
    record, _, _ = batch(decode_csv(b"race,number_inpatient\nAsian,2\n,\n"))
    store.write([record])
    found = rows(platform, "SELECT features FROM predictions ORDER BY features ->> 'race'")
    assert sorted(str(row[0]) for row in found) == sorted(
        str(row) for row in ({"race": "?", "number_inpatient": "?"}, {"race": "Asian", "number_inpatient": 2})
    )


def test_entries_are_kept_once(store: PredictionStore, platform: Settings) -> None:
    record = prediction()
    for _ in range(3):
        store.write([record])
    assert rows(platform, "SELECT count(*) FROM predictions") == [(1,)]


def test_the_latest_feedback_counts(store: PredictionStore, platform: Settings) -> None:
    number = prediction_id(1.0)
    store.write(
        [FeedbackRecord(number, 2.0, "NO"), FeedbackRecord(number, 5.0, "<30"), FeedbackRecord(number, 3.0, "NO")]
    )
    store.write([FeedbackRecord(number, 4.0, ">30")])
    assert rows(platform, "SELECT readmitted FROM feedback") == [("<30",)]


def test_what_is_no_entry_changes_nothing(store: PredictionStore, platform: Settings) -> None:
    with pytest.raises(psycopg.DataError):
        store.write([prediction(), FeedbackRecord("no uuid", 1.0, "NO")])
    assert rows(platform, "SELECT count(*) FROM predictions") == [(0,)]
    store.write([prediction()])
    assert rows(platform, "SELECT count(*) FROM predictions") == [(1,)]


def test_old_entries_are_dropped(store: PredictionStore, platform: Settings) -> None:
    store.write([prediction(time.time() - 40 * 86_400), prediction(time.time() - 86_400)])
    assert store.drop_old(30) == 1
    assert rows(platform, "SELECT count(*) FROM predictions") == [(1,)]


def test_a_frozen_database_is_given_up(
    store: PredictionStore, platform: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([prediction()])
    ((pid,),) = rows(platform, "SELECT pid FROM pg_stat_activity WHERE application_name = 'readmission api' AND"
                     " datname = current_database()")  # fmt: skip
    backend = psutil.Process(int(str(pid)))
    monkeypatch.setattr(prediction_store, "PATIENCE", 0.3)
    os.kill(backend.pid, signal.SIGSTOP)
    try:
        with pytest.raises(psycopg.OperationalError):
            store.write([prediction()])
    finally:
        os.kill(backend.pid, signal.SIGCONT)
    monkeypatch.undo()
    store.write([prediction()])
    assert rows(platform, "SELECT count(*) >= 2 FROM predictions") == [(True,)]


def test_a_database_that_is_away_is_an_error() -> None:
    store = PredictionStore(SecretStr("postgresql://nobody:x@127.0.0.1:9/nothing"))
    with pytest.raises(psycopg.OperationalError):
        store.write([prediction()])
    store.close()
