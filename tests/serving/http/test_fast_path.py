"""The fast lane answers what the application answers, and only what the application has checked before."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_bundle import MadeBundle, records
from test_predict_api import ANY_JSON, RECORDS, as_json

from documented import FULL_BODY
from readmission.schema import COLUMN_NAMES
from readmission.serving.http.auth import KeyRing
from readmission.serving.http.fast_path import FastLane
from readmission.serving.http.limits import Gate
from readmission.serving.http.request_metrics import Observer
from readmission.serving.http.schemas import Features
from readmission.serving.inference.data_plane import DataPlane, Predicted
from readmission.serving.inference.scorer import Scorer, load_scorer
from readmission.serving.telemetry.metrics import Telemetry


class OneModel:
    """A store whose model never changes."""

    def __init__(self, scorer: Scorer | None) -> None:
        self.current = scorer


class Lanes:
    """Both lanes on one data plane."""

    def __init__(self, scorer: Scorer | None) -> None:
        telemetry = Telemetry()
        self.plane = DataPlane(OneModel(scorer), telemetry)
        gate, observer = Gate(KeyRing(), 0, 10), Observer(telemetry, frozenset(), None)
        self.lane = FastLane(self.plane, gate, observer, 1 << 20)

    def fast(self, body: bytes) -> Predicted | None:
        record = self.lane.prepare(body)
        return None if record is None else self.plane.finish([record])[0]

    def slow(self, features: Any) -> tuple[str, tuple[float, ...]]:
        answer = self.plane.predict(Features.model_validate(features).raw()).answer
        return answer.label, answer.probabilities


@pytest.fixture
def lanes(tree_bundle: MadeBundle) -> Lanes:
    return Lanes(load_scorer(tree_bundle.folder, "7"))


def body(features: object) -> bytes:
    return json.dumps({"features": features}).encode()


def test_ordinary_records_take_it_at_once(lanes: Lanes) -> None:
    features = json.loads(FULL_BODY)["features"] | dict.fromkeys(("diag_1", "diag_2", "diag_3"), "?")
    assert lanes.fast(body(features)) is not None


def test_a_diagnosis_takes_it_the_second_time(lanes: Lanes) -> None:
    assert lanes.fast(FULL_BODY.encode()) is None
    lanes.slow(json.loads(FULL_BODY)["features"])
    assert lanes.fast(FULL_BODY.encode()) is not None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=RECORDS)
def test_both_lanes_answer_alike(lanes: Lanes, row: dict[str, Any]) -> None:
    try:
        expected = lanes.slow(row)
    except Exception:  # noqa: BLE001 - whatever the application refuses, the fast lane must leave to it
        assert lanes.fast(body(row)) is None
        return
    found = lanes.fast(body(row))
    if found is not None:
        assert (found.answer.label, found.answer.probabilities) == expected


def test_both_lanes_answer_generated_records_alike(lanes: Lanes) -> None:
    for row in map(as_json, records(200, seed=41)):
        expected = lanes.slow(row)
        found = lanes.fast(body(row))
        assert found is not None
        assert (found.answer.label, found.answer.probabilities) == expected


def test_records_that_are_scored_together_get_the_answers_that_they_get_alone(
    tree_bundle: MadeBundle, linear_bundle: MadeBundle
) -> None:
    for bundle in (tree_bundle, linear_bundle):
        lanes = Lanes(load_scorer(bundle.folder, "7"))
        rows = list(map(as_json, records(200, seed=42)))
        alone = [lanes.slow(row) for row in rows]
        prepared = [lanes.lane.prepare(body(row)) for row in rows]
        together = lanes.plane.finish([one for one in prepared if one is not None])
        assert [(one.answer.label, one.answer.probabilities) for one in together if one is not None] == alone


def test_records_are_scored_by_the_model_that_looked_them_up(
    tree_bundle: MadeBundle, linear_bundle: MadeBundle
) -> None:
    lanes = Lanes(load_scorer(tree_bundle.folder, "7"))
    store = lanes.plane._store
    rows = [body({"time_in_hospital": days}) for days in (1, 14)]
    before = [lanes.lane.prepare(row) for row in rows]
    store.current = load_scorer(linear_bundle.folder, "8")  # type: ignore[misc]
    after = [lanes.lane.prepare(row) for row in rows]
    found = lanes.plane.finish([one for one in (*before, *after) if one is not None])
    assert [one.answer.version for one in found if one is not None] == ["7", "7", "8", "8"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(features=st.dictionaries(st.sampled_from(COLUMN_NAMES) | st.text(max_size=5), ANY_JSON, max_size=4))
def test_it_takes_nothing_that_the_application_refuses(lanes: Lanes, features: dict[str, Any]) -> None:
    if lanes.fast(body(features)) is not None:
        Features.model_validate(features)


@pytest.mark.parametrize(
    "features",
    [
        {"time_in_hospital": True},
        {"time_in_hospital": "3"},
        {"time_in_hospital": 3.5},
        {"time_in_hospital": 366},
        {"admission_type_id": "1"},
        {"race": 1},
        {"blood_type": "A"},
    ],
)
def test_what_is_wrong_is_left_to_the_application(lanes: Lanes, features: dict[str, Any]) -> None:
    lanes.slow({"time_in_hospital": 1, "admission_type_id": 1})
    assert lanes.fast(body(features)) is None


def test_a_whole_number_may_be_written_with_a_point(lanes: Lanes) -> None:
    assert lanes.fast(b'{"features":{"time_in_hospital":3.0}}') is not None


def unusual_count(lanes: Lanes, feature: str, kind: str) -> float:
    start = f'unusual_values_total{{feature="{feature}",kind="{kind}"}} '
    lines = lanes.plane._telemetry.exposition().decode().splitlines()
    return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))


def test_unusual_values_are_counted_in_either_lane(lanes: Lanes) -> None:
    features = {"time_in_hospital": 300, "race": "Martian"}
    assert lanes.fast(body(features)) is None
    lanes.slow(features)
    for count in (1, 2, 3):
        assert unusual_count(lanes, "time_in_hospital", "beyond_training_range") == count
        assert unusual_count(lanes, "race", "unseen_level") == count
        assert lanes.fast(body(features)) is not None
    assert lanes.fast(body({"time_in_hospital": 3, "race": "Asian"})) is not None
    assert unusual_count(lanes, "race", "unseen_level") == 4


def test_there_is_an_end_to_the_unusual_values_that_it_learns(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readmission.serving.inference.unseen_values.MOST_MET", 3)
    for number in range(5):
        lanes.slow({"race": f"Martian {number}"})
    taken = [lanes.fast(body({"race": f"Martian {number}"})) is not None for number in range(5)]
    assert taken == [True, True, True, False, False]
    lanes.slow({"race": "Martian 4"})
    assert unusual_count(lanes, "race", "unseen_level") == 3 + 6


@pytest.mark.parametrize("extra", [{"encounter_id": 1}, {"patient_nbr": "a"}, {"readmitted": "NO"}])
def test_what_is_not_kept_is_left_to_the_application(lanes: Lanes, extra: dict[str, Any]) -> None:
    assert lanes.fast(body({"time_in_hospital": 3})) is not None
    assert lanes.fast(body({"time_in_hospital": 3, **extra})) is None


def test_what_the_database_cannot_hold_is_left_to_the_application(lanes: Lanes) -> None:
    features = {"race": "a\x00b"}
    for _ in range(2):
        assert lanes.fast(body(features)) is None
        lanes.slow(features)


def test_without_a_model_it_answers_nothing() -> None:
    assert Lanes(None).fast(body({})) is None
