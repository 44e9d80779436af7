"""The fast path answers every body, and values that are met again are predicted as they were the first time."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_bundle import MadeBundle, records
from test_predict_api import ANY_JSON, RECORDS, as_json

from documented import FULL_BODY
from readmission.schema import COLUMN_NAMES, RECORD_COLUMNS
from readmission.serving.http.auth import ApiKeys
from readmission.serving.http.fast_path import FastPath
from readmission.serving.http.limits import AccessControl
from readmission.serving.http.problems import PROBLEM_TYPES
from readmission.serving.http.request_headers import RequestHeaders
from readmission.serving.http.request_metrics import RequestMetrics
from readmission.serving.inference.data_plane import DataPlane
from readmission.serving.inference.errors import (
    InvalidFieldsError,
    InvalidJsonError,
    NoModelError,
    PredictionError,
    UnscorableError,
)
from readmission.serving.inference.scorer import Scorer, load_scorer
from readmission.serving.telemetry.metrics import Metrics

Outcome = tuple[str, tuple[float, ...]] | str


class OneModel:
    """A store whose model changes only by hand."""

    def __init__(self, scorer: Scorer | None) -> None:
        self.current = scorer


class Sink:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[Any] = []

    def put(self, record: Any) -> None:
        self.logged.append(record)

    put_batch = put


class Served:
    """A data plane, and what it counted and logged."""

    def __init__(self, scorer: Scorer | None) -> None:
        self.model = OneModel(scorer)
        self.metrics = Metrics([problem.name for problem in PROBLEM_TYPES])
        self.sink = Sink()
        self.plane = DataPlane(self.model, self.metrics, self.sink)

    def predict(self, body: bytes) -> tuple[str, tuple[float, ...]]:
        prediction = self.plane.predict(body).prediction
        return prediction.label, prediction.probabilities

    def is_known(self, body: bytes) -> bool:
        """Whether all values of a record are encoded by look-ups."""
        features = json.loads(body)["features"]
        values = [features.get(column.name) for column in RECORD_COLUMNS]
        scorer = self.plane.scorer
        return scorer.rows.encode_known(values) is not None

    def unseen(self, feature: str, reason: str) -> float:
        start = f'unseen_values_total{{feature="{feature}",reason="{reason}"}} '
        lines = self.metrics.exposition().decode().splitlines()
        return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))


class Written:
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, bytes]] = []

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        self.answers.append((status, headers, body))


@pytest.fixture
def served(tree_bundle: MadeBundle) -> Served:
    return Served(load_scorer(tree_bundle.folder, "7"))


def body(features: object) -> bytes:
    return json.dumps({"features": features}).encode()


def outcome(predict: Callable[[bytes], Outcome], content: bytes) -> Outcome:
    try:
        return predict(content)
    except PredictionError as error:
        return f"{type(error).__name__}: {error}"


def test_ordinary_records_are_known_from_the_start(served: Served) -> None:
    features = json.loads(FULL_BODY)["features"] | dict.fromkeys(("diag_1", "diag_2", "diag_3"), "?")
    assert served.is_known(body(features))


def test_values_are_known_once_they_have_been_predicted(served: Served) -> None:
    assert not served.is_known(FULL_BODY.encode())
    first = served.predict(FULL_BODY.encode())
    assert served.is_known(FULL_BODY.encode())
    assert served.predict(FULL_BODY.encode()) == first


@settings(max_examples=200)
@given(row=RECORDS)
def test_known_and_new_values_are_predicted_alike(served: Served, tree_bundle: MadeBundle, row: dict[str, Any]) -> None:
    """The scorer alone, a plane that meets the values now, and one that has met them before."""
    content = body(row)
    fresh = outcome(Served(served.plane.scorer).predict, content)
    assert outcome(served.predict, content) == fresh
    assert outcome(served.predict, content) == fresh
    try:
        alone = served.plane.scorer.score(row)
    except ValueError:
        assert str(fresh).startswith("UnscorableError: ")
    else:
        assert fresh == (alone.label, alone.probabilities)


def test_records_that_are_scored_together_get_the_predictions_that_they_get_alone(
    tree_bundle: MadeBundle, linear_bundle: MadeBundle
) -> None:
    for bundle in (tree_bundle, linear_bundle):
        served = Served(load_scorer(bundle.folder, "7"))
        bodies = [body(as_json(row)) for row in records(200, seed=42)]
        alone = [served.predict(content) for content in bodies]
        together = served.plane.score([served.plane.encode(content) for content in bodies])
        assert [one.prediction[:2] for one in together if one is not None] == alone


def test_records_are_scored_by_the_model_that_encoded_them(tree_bundle: MadeBundle, linear_bundle: MadeBundle) -> None:
    served = Served(load_scorer(tree_bundle.folder, "7"))
    bodies = [body({"time_in_hospital": days}) for days in (1, 14)]
    before = [served.plane.encode(content) for content in bodies]
    served.model.current = load_scorer(linear_bundle.folder, "8")
    after = [served.plane.encode(content) for content in bodies]
    found = served.plane.score([*before, *after])
    assert [one.prediction.version for one in found if one is not None] == ["7", "7", "8", "8"]


@settings(max_examples=200)
@given(features=st.dictionaries(st.sampled_from(COLUMN_NAMES) | st.text(max_size=5), ANY_JSON, max_size=4))
def test_what_is_refused_once_is_refused_again(served: Served, features: dict[str, Any]) -> None:
    assert outcome(served.predict, body(features)) == outcome(served.predict, body(features))


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ({"time_in_hospital": True}, "time_in_hospital"),
        ({"time_in_hospital": "3"}, "time_in_hospital"),
        ({"time_in_hospital": 3.5}, "time_in_hospital"),
        ({"time_in_hospital": 366}, "time_in_hospital"),
        ({"admission_type_id": "1"}, "admission_type_id"),
        ({"race": 1}, "race"),
        ({"blood_type": "A"}, "blood_type"),
    ],
)
def test_a_wrong_value_is_refused_though_a_like_one_is_known(
    served: Served, features: dict[str, Any], name: str
) -> None:
    served.predict(body({"time_in_hospital": 1, "admission_type_id": 1}))
    for _ in range(2):
        with pytest.raises(InvalidFieldsError) as refused:
            served.predict(body(features))
        assert [error.field for error in refused.value.errors] == [f"features.{name}"]


def test_a_whole_number_may_be_written_with_a_point(served: Served) -> None:
    assert served.predict(b'{"features":{"time_in_hospital":3.0}}') == served.predict(body({"time_in_hospital": 3}))


def test_unseen_values_are_counted_every_time(served: Served) -> None:
    features = {"time_in_hospital": 300, "race": "Martian"}
    for count in (1, 2, 3):
        served.predict(body(features))
        assert served.unseen("time_in_hospital", "beyond_training_range") == count
        assert served.unseen("race", "unseen_level") == count
    served.predict(body({"time_in_hospital": 3, "race": "Asian"}))
    assert served.unseen("race", "unseen_level") == 3


def test_only_so_many_unseen_values_are_remembered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readmission.serving.inference.unseen_values.MAX_REMEMBERED", 3)
    for _ in range(2):
        for number in range(5):
            served.predict(body({"race": f"Martian {number}"}))
    known = [served.is_known(body({"race": f"Martian {number}"})) for number in range(5)]
    assert known == [True, True, True, False, False]
    assert served.unseen("race", "unseen_level") == 10


@pytest.mark.parametrize("extra", [{"encounter_id": 1}, {"patient_nbr": "a"}, {"readmitted": {"a": [1]}}])
def test_identifiers_and_outcome_are_ignored_and_not_logged(served: Served, extra: dict[str, Any]) -> None:
    plain = served.predict(body({"time_in_hospital": 3, "race": "Asian"}))
    assert served.predict(body({"time_in_hospital": 3, **extra, "race": "Asian"})) == plain
    logged = [json.loads(record.body) for record in served.sink.logged]
    assert logged == [{"features": {"time_in_hospital": 3, "race": "Asian"}}] * 2


def test_what_the_database_cannot_hold_is_replaced_in_the_log(served: Served) -> None:
    for _ in range(2):
        served.predict(body({"race": "a\x00b"}))
    assert {record.body for record in served.sink.logged} == {'{"features":{"race":"a\ufffdb"}}'.encode()}


def test_without_a_model_nothing_is_predicted() -> None:
    with pytest.raises(NoModelError):
        Served(None).predict(body({}))


# The fast path itself: whatever the body holds, it answers.


def answered(served: Served, *bodies: bytes, access: AccessControl | None = None) -> list[tuple[int, bytes, bytes]]:
    requests = RequestMetrics(served.metrics, frozenset({"/predict"}), None)
    fast_path = FastPath(served.plane, access or AccessControl(ApiKeys(), 0, 1_000), requests, 1 << 20)
    connection = Written()

    async def run() -> None:
        for content in bodies:
            headers = RequestHeaders(request_id="r1", is_json=True, length=len(content))
            assert fast_path.accepts(headers)
            fast_path.answer(headers, content, connection, "127.0.0.1", 0.0)
        await asyncio.sleep(0)

    asyncio.run(run())
    return connection.answers


@pytest.mark.parametrize(
    ("content", "status", "problem_type"),
    [
        (b"{", 400, "invalid_json"),
        (b"\xff", 400, "invalid_json"),
        (b"[]", 422, "invalid_request"),
        (b'{"features":{"race":1}}', 422, "invalid_request"),
    ],
)
def test_a_body_without_prediction_gets_its_problem(
    served: Served, content: bytes, status: int, problem_type: str
) -> None:
    ((found, headers, problem),) = answered(served, content)
    assert found == json.loads(problem)["status"] == status
    assert json.loads(problem)["type"].endswith(f":{problem_type}")
    assert b"x-request-id: r1\r\n" in headers
    text = served.metrics.exposition().decode()
    assert f'predict_errors_total{{error_type="{problem_type}",model_version="none"}} 1.0' in text
    assert "predict_requests_in_progress 0.0" in text


def test_without_a_model_the_problem_says_when_to_try_again() -> None:
    ((status, headers, _),) = answered(Served(None), b'{"features":{}}')
    assert status == 503
    assert b"retry-after: 5\r\n" in headers


def test_who_is_not_authorised_is_refused_before_the_body_is_read(served: Served) -> None:
    access = AccessControl(ApiKeys(), 1.0, 1_000)
    statuses = [status for status, _, _ in answered(served, b'{"features":{}}', b"{", access=access)]
    assert sorted(statuses) == [200, 429]
    access.begin()
    assert access.authorise("/predict", "", "another") == ""  # both requests have ended


def test_an_unforeseen_failure_is_answered_and_logged_without_its_message(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a value of a record")

    for method in ("encode", "score"):
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(DataPlane, method, fail)
            found = answered(served, b'{"features":{}}', b'{"features":{}}')
        assert [status for status, _, _ in found] == [500, 500]
        assert all(b"a value" not in problem for _, _, problem in found)
    assert "Request r1 failed: KeyError" in caplog.text
    assert "a value" not in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        RequestHeaders(is_json=False, length=10),
        RequestHeaders(is_json=True, length=0),
        RequestHeaders(is_json=True, length=-1),
        RequestHeaders(is_json=True, length=(1 << 20) + 1),
    ],
)
def test_what_it_does_not_accept_is_known_by_the_headers(served: Served, headers: RequestHeaders) -> None:
    requests = RequestMetrics(served.metrics, frozenset(), None)
    assert not FastPath(served.plane, AccessControl(ApiKeys(), 0, 10), requests, 1 << 20).accepts(headers)


def test_who_is_limited_by_address_and_behind_a_proxy_is_left_to_the_application(served: Served) -> None:
    requests = RequestMetrics(served.metrics, frozenset(), None)
    headers = RequestHeaders(is_json=True, length=10, is_forwarded=True)
    for rate, accepted in ((0.0, True), (1.0, False)):
        fast_path = FastPath(served.plane, AccessControl(ApiKeys(), rate, 10), requests, 1 << 20)
        assert fast_path.accepts(headers) is accepted


def test_every_domain_error_is_a_problem() -> None:
    from readmission.serving.http.problems import problem_of
    from readmission.serving.inference import errors

    made = [InvalidJsonError(3), InvalidFieldsError([]), UnscorableError(), NoModelError(), errors.NoExplanationError(),
            errors.LogOffError()]  # fmt: skip
    assert {type(error) for error in made} == set(PredictionError.__subclasses__())
    for error in made:
        assert re.fullmatch(r"[A-Z].*\.", problem_of(error).detail)
