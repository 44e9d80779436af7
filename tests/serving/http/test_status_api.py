"""Health, readiness, model description, metrics, documentation."""

import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running_api import calling
from serving_bundle import MadeBundle

from documented import FULL_BODY, HEALTH
from readmission.schema import LABELS, RECORD_COLUMNS
from readmission.serving.app import create_app
from readmission.serving.inference.data_plane import DataPlane
from readmission.serving.telemetry.metrics import BUCKETS, Metrics
from readmission.settings import Settings

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(client: httpx.Client) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: Samples, metric: str, **labels: str) -> float:
    return found.get((metric, frozenset(labels.items())), 0.0)


def test_health_is_exact(client: httpx.Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.content) == (200, HEALTH)


def test_health_looks_at_the_model(empty_client: httpx.Client) -> None:
    answer = empty_client.get("/health")
    assert answer.status_code == 503
    assert answer.content == b'{"status":"no model","model":"diabetes_readmission_model"}'


def test_a_process_lives_without_a_model(empty_client: httpx.Client, client: httpx.Client) -> None:
    assert empty_client.get("/live").status_code == client.get("/live").status_code == 200


def test_readiness_needs_a_model(empty_client: httpx.Client, client: httpx.Client) -> None:
    assert client.get("/ready").json() == {"status": "ready", "model_version": "7"}
    answer = empty_client.get("/ready")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_model_info_tells_all(client: httpx.Client, tree_bundle: MadeBundle) -> None:
    answer = client.get("/model-info")
    assert answer.headers["X-Model-Version"] == "7"
    info = answer.json()
    loaded_at = datetime.fromisoformat(info.pop("loaded_at"))
    assert loaded_at.tzinfo is not None
    assert loaded_at <= datetime.now(UTC)
    metadata = json.loads((tree_bundle.folder / "metadata.json").read_text())
    assert info == metadata | {
        "version": "7",
        "stage": "Production",
        "labels": list(LABELS),
        "preprocessing": {"status": "loaded", "encoder_version": 1, "features": len(tree_bundle.encoder.features)},
    }
    assert info["features"] == list(tree_bundle.encoder.names)
    assert info["data_fallback"] == "no network"


def test_model_info_without_a_model_is_unavailable(empty_client: httpx.Client) -> None:
    assert empty_client.get("/model-info").status_code == 503


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/predict", 405)])
def test_wrong_paths_and_methods_are_problems(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"]


def test_predictions_are_counted(client: httpx.Client) -> None:
    before = samples(client)
    headers = {"Content-Type": "application/json"}
    label = client.post("/predict", content=FULL_BODY, headers=headers).json()["readmission_prediction"]
    client.post("/predict", content=b"{", headers=headers)
    client.post("/predict", json={"features": {"race": 1}})
    client.request("PROPFIND", "/predict")
    after = samples(client)

    def grown(metric: str, **labels: str) -> float:
        return value(after, metric, **labels) - value(before, metric, **labels)

    assert grown("predict_requests_total", endpoint="/predict", method="POST", status="200", model_version="7") == 1
    assert grown("predict_requests_total", endpoint="/predict", method="POST", status="400", model_version="7") == 1
    assert grown("predict_requests_total", endpoint="/predict", method="POST", status="422", model_version="7") == 1
    assert grown("predict_requests_total", endpoint="/predict", method="other", status="405", model_version="7") == 1
    assert grown("predictions_total", readmission_class=label, model_version="7") == 1
    assert grown("predict_errors_total", error_type="invalid_json", model_version="7") == 1
    assert grown("predict_errors_total", error_type="invalid_request", model_version="7") == 1
    assert grown("predict_latency_seconds_count", endpoint="/predict", model_version="7") == 4
    assert value(after, "predict_requests_in_progress") == 0


def test_other_endpoints_are_no_predictions(client: httpx.Client) -> None:
    before = samples(client)
    client.get("/health")
    after = samples(client)
    labels = {"endpoint": "/predict", "model_version": "7"}
    count = "predict_latency_seconds_count"
    assert value(before, count, **labels) == value(after, count, **labels)
    assert not [labels for _, labels in after if ("endpoint", "/health") in labels]


def test_the_metrics_have_their_names_before_the_first_request(empty_client: httpx.Client) -> None:
    text = empty_client.get("/metrics").text
    for name in (
        "predict_requests_total",
        "predict_latency_seconds",
        "predictions_total",
        "predict_errors_total",
        "predict_requests_in_progress",
        "model_info",
    ):
        assert f"# HELP {name} " in text
    assert 'predict_errors_total{error_type="no_model",model_version="none"} 0.0' in text


def test_the_serving_model_is_a_metric(client: httpx.Client) -> None:
    labels = {"name": "diabetes_readmission_model", "model_version": "7", "model_type": "decision_tree"}
    assert value(samples(client), "model_info", **labels) == 1


def test_latency_buckets_begin_at_a_tenth_of_a_millisecond(client: httpx.Client) -> None:
    client.post("/predict", json={"features": {}})
    name = "predict_latency_seconds_bucket"
    found = [dict(labels) for sample, labels in samples(client) if sample == name]
    bounds = [float(labels["le"]) for labels in found if labels["endpoint"] == "/predict"]
    assert sorted(bounds) == [*BUCKETS, float("inf")]
    assert BUCKETS[0] == 0.0001


def test_two_applications_do_not_share_metrics() -> None:
    one, other = Metrics(), Metrics()
    one.started()
    assert b"predict_requests_in_progress 1.0" in one.exposition()
    assert b"predict_requests_in_progress 0.0" in other.exposition()


def test_an_unforeseen_failure_is_a_problem_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a value of a record")

    monkeypatch.setattr(DataPlane, "predict", fail)
    with calling(create_app(Settings(home=tmp_path, mlflow_url="http://127.0.0.1:9"))) as client:
        headers = {"X-Request-Id": "r1", "Connection": "close"}
        answer = client.post("/predict", json={"features": {}}, headers=headers)
        metrics = samples(client)
    assert answer.status_code == 500
    assert answer.json()["type"].endswith(":internal")
    assert answer.headers["X-Request-Id"] == "r1"
    assert "value of a record" not in answer.text
    assert value(metrics, "predict_errors_total", error_type="internal", model_version="none") == 1
    assert value(metrics, "predict_requests_in_progress") == 0
    assert "Request r1 failed: KeyError" in caplog.text


def test_the_documentation_page_is_served(client: httpx.Client) -> None:
    assert "swagger-ui" in client.get("/docs").text


def test_openapi_has_the_endpoints_and_the_documented_example(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    predictions = {"/predict", "/predict/batch", "/explain", "/feedback"}
    assert set(document["paths"]) == {*predictions, "/health", "/live", "/ready", "/model-info", "/metrics"}
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["full"]["value"] == json.loads(FULL_BODY)
    assert list(body["examples"]["full"]["value"]["features"]) == [column.name for column in RECORD_COLUMNS]
    schemas = document["components"]["schemas"]
    assert list(schemas["Probabilities"]["properties"]) == ["NO", "<30", ">30"]
    assert schemas["PredictRequest"]["examples"] == [json.loads(FULL_BODY)]


def test_openapi_describes_the_problems(client: httpx.Client) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
    problems = {"400", "401", "403", "413", "422", "429", "503"}
    assert set(responses) == {"200", *problems}
    for status in problems:
        assert list(responses[status]["content"]) == ["application/problem+json"]


def test_every_openapi_example_is_answered(client: httpx.Client) -> None:
    examples = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"][
        "application/json"
    ]
    for example in examples["examples"].values():
        assert client.post("/predict", json=example["value"]).status_code == 200
