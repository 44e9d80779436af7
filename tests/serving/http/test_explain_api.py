"""``/explain`` and ``/feedback`` over a real server."""

import json
import math
from pathlib import Path

import httpx
import pytest
from running_api import NOWHERE, calling, put_in_cache
from serving_bundle import MadeBundle
from test_predict_api import JSON, problem, wrong_fields

from documented import FULL_BODY
from readmission.serving.app import create_app
from readmission.serving.telemetry.ids import prediction_id
from readmission.settings import Settings


def explain(client: httpx.Client, body: str = FULL_BODY) -> dict:
    answer = client.post("/explain", content=body, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Version"] == "7"
    assert len(answer.headers["X-Prediction-Id"]) == 36
    return dict(answer.json())


def test_contributions_sum_to_the_log_odds_of_the_answer(client: httpx.Client) -> None:
    content = explain(client)
    chance = min(content["probabilities"][content["readmission_prediction"]], 1 - 1e-6)
    total = content["base_value"] + sum(part["contribution"] for part in content["contributions"])
    assert math.isclose(total, math.log(chance / (1 - chance)), abs_tol=1e-4)


def test_it_gives_the_prediction_too(client: httpx.Client) -> None:
    content = explain(client)
    prediction = client.post("/predict", content=FULL_BODY, headers=JSON).json()
    assert {name: content[name] for name in prediction} == prediction
    assert list(content) == ["readmission_prediction", "probabilities", "base_value", "contributions"]


def test_values_are_in_the_records_own_terms_and_the_largest_come_first(client: httpx.Client) -> None:
    parts = explain(client)["contributions"]
    values = {part["feature"]: part["value"] for part in parts}
    assert values["age"] == 75
    assert values["time_in_hospital"] == 1
    sizes = [abs(part["contribution"]) for part in parts]
    assert sizes == sorted(sizes, reverse=True)


def test_wrong_fields_are_named(client: httpx.Client) -> None:
    answer = client.post("/explain", json={"features": {"time_in_hospital": "long"}})
    assert wrong_fields(answer) == ["features.time_in_hospital"]


def test_without_a_model_there_is_no_explanation(empty_client: httpx.Client) -> None:
    problem(empty_client.post("/explain", content=FULL_BODY, headers=JSON), 503)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"prediction_id": "x", "readmitted": "NO"}, ["prediction_id"]),
        ({"prediction_id": prediction_id(1.0), "readmitted": "maybe"}, ["readmitted"]),
        ({}, ["prediction_id", "readmitted"]),
    ],
)
def test_feedback_is_checked(client: httpx.Client, body: dict, wrong: list[str]) -> None:
    assert wrong_fields(client.post("/feedback", content=json.dumps(body), headers=JSON)) == wrong


def test_where_nothing_is_kept_feedback_is_refused(client: httpx.Client) -> None:
    body = {"prediction_id": prediction_id(1.0), "readmitted": "NO"}
    assert problem(client.post("/feedback", json=body), 503)["type"].endswith(":not_kept")


def test_a_model_without_explanation_says_so(linear_bundle: MadeBundle, tmp_path: Path) -> None:
    put_in_cache(tmp_path, linear_bundle.folder)
    with calling(create_app(Settings(home=tmp_path, mlflow_url=NOWHERE, prediction_log=False))) as client:
        answer = client.post("/explain", content=FULL_BODY, headers=JSON)
        assert problem(answer, 503)["type"].endswith(":no_explanation")
        assert client.post("/predict", content=FULL_BODY, headers=JSON).status_code == 200
