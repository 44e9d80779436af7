"""``POST /predict`` over a real server: exact answers, never a 500, never a value of the record sent back."""

import json
import math
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serving_bundle import DIAGNOSES, MadeBundle, records

from documented import FULL_BODY, PARTIAL_BODY
from readmission.features.record import clean_record
from readmission.schema import COLUMN_NAMES, LABELS, RECORD_COLUMNS, Column, Kind
from readmission.serving.inference.scorer import load_scorer

SHARED_CLIENT = settings(max_examples=150)
JSON = {"Content-Type": "application/json"}
SECRET = "Zebediah"


def post(client: httpx.Client, content: str | bytes) -> httpx.Response:
    return client.post("/predict", content=content, headers=JSON)


def predict(client: httpx.Client, features: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/predict", json={"features": features})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert list(body)[:4] == ["type", "title", "status", "detail"]
    assert body["type"].startswith("urn:problem-type:readmission:")
    assert body["status"] == status
    return body


def wrong_fields(answer: httpx.Response) -> list[str]:
    return [error["field"] for error in problem(answer, 422)["errors"]]


@pytest.mark.parametrize("body", [FULL_BODY, PARTIAL_BODY])
def test_the_documented_requests_work(client: httpx.Client, body: str) -> None:
    answer = post(client, body)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    content = json.loads(answer.content)
    assert list(content) == ["readmission_prediction", "probabilities"]
    assert list(content["probabilities"]) == ["NO", "<30", ">30"]
    assert content["readmission_prediction"] in LABELS
    assert math.isclose(sum(content["probabilities"].values()), 1.0, abs_tol=1e-9)


def test_the_answer_is_compact_json_in_the_documented_order(client: httpx.Client, tree_bundle: MadeBundle) -> None:
    answer = load_scorer(tree_bundle.folder, "7").score(json.loads(FULL_BODY)["features"])
    no, after, within = answer.probabilities
    expected = (
        f'{{"readmission_prediction":"{answer.label}",'
        f'"probabilities":{{"NO":{no!r},"<30":{within!r},">30":{after!r}}}}}'
    )
    assert post(client, FULL_BODY).text == expected


def test_answers_equal_encoder_and_onnx_on_every_record(client: httpx.Client, tree_bundle: MadeBundle) -> None:
    scorer = load_scorer(tree_bundle.folder, "7")
    rows = [as_json(row) for row in records(300, seed=90)]
    expected = tree_bundle.probabilities(rows)
    seen = set()
    for row, fitted in zip(rows, expected, strict=True):
        content = predict(client, row)
        numbers = np.array([tree_bundle.encoder.encode_record(clean_record(row))], np.float32)
        (onnx,) = scorer.session.run(["probabilities"], {"input": numbers})
        given_ = [content["probabilities"][label] for label in LABELS]
        np.testing.assert_allclose(given_, onnx[0], atol=1e-6)
        np.testing.assert_allclose(given_, fitted, atol=1e-6)
        assert content["readmission_prediction"] == LABELS[tree_bundle.decision.choose(onnx[0].tolist())]
        seen.add(content["readmission_prediction"])
    assert seen == set(LABELS)


def as_json(row: dict[str, str]) -> dict[str, Any]:
    """Numbers as callers send them."""
    numbers = {column.name for column in RECORD_COLUMNS if column.is_number}
    return {name: int(value) if name in numbers and value != "?" else value for name, value in row.items()}


def values(column: Column) -> st.SearchStrategy[Any]:
    missing = st.sampled_from([None, "?"])
    if column.is_number:
        return missing | st.integers(column.low, column.high)
    if column.kind is Kind.DIAGNOSIS:
        return missing | st.sampled_from(DIAGNOSES) | st.text(max_size=100)
    return missing | st.sampled_from(column.levels) | st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


RECORDS = st.fixed_dictionaries({}, optional={column.name: values(column) for column in RECORD_COLUMNS})


@SHARED_CLIENT
@given(row=RECORDS)
@example(row={"age": "[" + "9" * 48 + "-" + "9" * 48 + ")"})
@example(row={"age": "[٣٠-٤٠)"})
def test_every_allowed_record_is_scored_like_the_scorer(
    client: httpx.Client, tree_bundle: MadeBundle, row: dict[str, Any]
) -> None:
    scorer = load_scorer(tree_bundle.folder, "7")
    answer = client.post("/predict", content=json.dumps({"features": row}), headers=JSON)
    try:
        expected = scorer.score(row)
    except ValueError:
        assert problem(answer, 422)["type"].endswith(":unscorable")
        return
    content = answer.json()
    assert content["readmission_prediction"] == expected.label
    assert tuple(content["probabilities"][label] for label in LABELS) == expected.probabilities


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
KNOWN_OR_ANY = st.dictionaries(
    st.sampled_from(COLUMN_NAMES) | st.text(st.characters(), max_size=8), ANY_JSON, max_size=6
)


@SHARED_CLIENT
@given(body=ANY_JSON | st.fixed_dictionaries({"features": ANY_JSON | KNOWN_OR_ANY}))
@example(body={"features": {"\ud800": "\udfff"}})
@example(body={"features": {"age": "[" + "9" * 48 + "-" + "9" * 48 + ")"}})
def test_no_json_is_a_server_error(client: httpx.Client, body: object) -> None:
    answer = post(client, json.dumps(body))
    if answer.status_code == 200:
        assert math.isclose(sum(answer.json()["probabilities"].values()), 1.0, abs_tol=1e-9)
    else:
        problem(answer, answer.status_code)
        assert answer.status_code in (400, 422)


@SHARED_CLIENT
@given(content=st.binary(max_size=60))
@example(content=b"[" * 100_000)
@example(content=b'{"features": {"time_in_hospital": ' + b"9" * 5000 + b"}}")
@example(content=b'{"features": {"time_in_hospital": NaN}}')
@example(content=b'{"features": {"time_in_hospital": 1e999}}')
@example(content=b'{"features": {"race": "\xff"}}')
def test_no_bytes_are_a_server_error(client: httpx.Client, content: bytes) -> None:
    answer = post(client, content)
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("content", [b'{"features": {', b"\xff", b"[" * 100_000, b"{'features': {}}"])
def test_what_is_no_json_is_a_bad_request(client: httpx.Client, content: bytes) -> None:
    assert problem(post(client, content), 400)["type"].endswith(":invalid_json")


def test_an_empty_record_is_scored(client: httpx.Client) -> None:
    assert predict(client, {}) == predict(client, {column.name: "?" for column in RECORD_COLUMNS})


def test_unknown_fields_are_named(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"features": {"race": "Asian", "blood_type": "A", "Age": 3}})
    assert wrong_fields(answer) == ["features.blood_type", "features.Age"]
    assert problem(answer, 422)["errors"][0]["detail"] == "is no field of a record"


def test_a_field_beside_features_is_named(client: httpx.Client) -> None:
    assert wrong_fields(client.post("/predict", json={"features": {}, "model": "x"})) == ["model"]


def test_all_wrong_fields_are_named(client: httpx.Client) -> None:
    features = {"time_in_hospital": 366, "race": 5, "glyburide-metformin": ["No"], "diag_1": "250"}
    answer = client.post("/predict", json={"features": features})
    assert wrong_fields(answer) == ["features.race", "features.time_in_hospital", "features.glyburide-metformin"]
    details = {error["field"]: error["detail"] for error in answer.json()["errors"]}
    assert details["features.time_in_hospital"] == 'must be a whole number from 0 to 365, "?" or null'


@pytest.mark.parametrize("body", [{}, [], None, 3, "text", {"features": None}, {"features": []}, {"features": "x"}])
def test_a_body_of_another_shape_is_refused(client: httpx.Client, body: object) -> None:
    assert wrong_fields(post(client, json.dumps(body)))[0] in ("features", "body")


def test_many_wrong_fields_make_a_short_answer(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"features": {"x" * 500 + str(n): 1 for n in range(500)}})
    assert len(wrong_fields(answer)) == 100
    assert len(answer.content) < 50_000


@pytest.mark.parametrize(
    "features",
    [
        {"race": [SECRET]},
        {"time_in_hospital": SECRET},
        {"gender": SECRET * 20},
        {"diag_1": {SECRET: SECRET}},
        {"age": 70, "race": SECRET},
    ],
)
def test_no_value_is_sent_back_or_logged(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, features: dict[str, Any]
) -> None:
    answer = client.post("/predict", json={"features": features})
    assert answer.status_code == 422
    assert SECRET not in answer.text + caplog.text


def test_identifiers_and_outcome_change_nothing(client: httpx.Client) -> None:
    features = json.loads(FULL_BODY)["features"]
    named = features | {"encounter_id": 2278392, "patient_nbr": "8222157", "readmitted": "<30"}
    assert predict(client, named) == predict(client, features)


@pytest.mark.parametrize("name", ["race", "medical_specialty", "diag_1", "insulin", "payer_code", "age"])
def test_an_unseen_level_is_scored(client: httpx.Client, name: str) -> None:
    predict(client, json.loads(FULL_BODY)["features"] | {name: "never seen before"})


def test_an_unseen_code_is_scored(client: httpx.Client) -> None:
    predict(client, {"admission_type_id": 99})


def test_the_answer_names_the_version(client: httpx.Client) -> None:
    assert post(client, FULL_BODY).headers["X-Model-Version"] == "7"


def test_a_given_request_id_comes_back(client: httpx.Client) -> None:
    answer = client.post("/predict", content=FULL_BODY, headers=JSON | {"X-Request-Id": "abc-123.x"})
    assert answer.headers["X-Request-Id"] == "abc-123.x"


@pytest.mark.parametrize("given_id", ["", "a b", "x" * 129, "<script>"])
def test_an_unsafe_request_id_is_replaced(client: httpx.Client, given_id: str) -> None:
    answer = client.post("/predict", content=FULL_BODY, headers=JSON | {"X-Request-Id": given_id})
    assert len(answer.headers["X-Request-Id"]) == 32


def test_request_ids_are_made_and_differ(client: httpx.Client) -> None:
    ids = {post(client, body).headers["X-Request-Id"] for body in (FULL_BODY, PARTIAL_BODY, "{")}
    assert len(ids) == 3


def test_without_a_model_the_answer_is_unavailable(empty_client: httpx.Client) -> None:
    answer = post(empty_client, FULL_BODY)
    assert problem(answer, 503)["title"] == "No model is loaded"
    assert answer.headers["Retry-After"] == "5"


def test_another_content_type_is_told(client: httpx.Client) -> None:
    answer = client.post("/predict", content=FULL_BODY, headers={"Content-Type": "text/plain"})
    assert "Content-Type: application/json" in problem(answer, 422)["errors"][0]["detail"]
