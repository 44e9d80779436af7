"""Keys, limits and headers over a real server, and predictions that arrive in a real database."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from running_api import NOWHERE, calling, put_in_cache
from serving_bundle import MadeBundle
from test_predict_api import JSON, problem

from documented import FULL_BODY
from processes import eventually
from readmission.serving.app import create_app
from readmission.serving.http.auth import Scope, new_key
from readmission.settings import Settings
from readmission.warehouse.metadata.migrate import migrate

MADE = {scope: new_key(scope.value, scope) for scope in Scope}
KEYS = {scope: text for scope, (text, _) in MADE.items()}


@pytest.fixture(scope="module")
def protected(tree_bundle: MadeBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("protected")
    put_in_cache(home, tree_bundle.folder, "7")
    settings = Settings(
        home=home,
        mlflow_url=NOWHERE,
        api_keys=SecretStr(",".join(key.entry for _, key in MADE.values())),
        body_limit=5_000,
        prediction_log=False,
    )
    with calling(create_app(settings)) as client:
        yield client


def test_without_a_key_nothing_is_predicted(protected: httpx.Client) -> None:
    for path in ("/predict", "/predict/batch", "/explain", "/feedback"):
        answer = protected.post(path, content=FULL_BODY, headers=JSON)
        assert problem(answer, 401)["type"].endswith(":unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_key_opens_predictions(protected: httpx.Client, header: str) -> None:
    value = KEYS[Scope.PREDICT] if header == "X-API-Key" else f"Bearer {KEYS[Scope.PREDICT]}"
    for _ in range(2):  # the application first, then the fast path
        answer = protected.post("/predict", content=FULL_BODY, headers=JSON | {header: value})
        assert answer.status_code == 200


def test_metrics_need_the_admin_scope(protected: httpx.Client) -> None:
    problem(protected.get("/metrics"), 401)
    problem(protected.get("/metrics", headers={"X-API-Key": KEYS[Scope.PREDICT]}), 403)
    answer = protected.get("/metrics", headers={"X-API-Key": KEYS[Scope.ADMIN]})
    assert 'predict_errors_total{error_type="unauthorized",' in answer.text


@pytest.mark.parametrize("path", ["/health", "/live", "/ready", "/docs", "/openapi.json"])
def test_health_and_documentation_are_open(protected: httpx.Client, path: str) -> None:
    assert protected.get(path).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(protected: httpx.Client, chunked: bool) -> None:
    content = b'{"features":{"race":"' + b"x" * 6_000 + b'"}}'
    body = (part for part in (content[:3000], content[3000:])) if chunked else content
    answer = protected.post("/predict", content=body, headers=JSON | {"X-API-Key": KEYS[Scope.PREDICT]})
    assert "5,000 bytes" in problem(answer, 413)["detail"]


@pytest.mark.parametrize("path", ["/predict", "/live", "/nowhere"])
def test_every_answer_carries_security_headers(protected: httpx.Client, path: str) -> None:
    headers = protected.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["X-Request-Id"]


def test_a_caller_that_asks_too_often_is_told_to_wait(tree_bundle: MadeBundle, tmp_path: Path) -> None:
    put_in_cache(tmp_path, tree_bundle.folder, "7")
    settings = Settings(home=tmp_path, mlflow_url=NOWHERE, rate_limit=2, prediction_log=False)
    with calling(create_app(settings)) as client:
        answers = [client.post("/predict", content=FULL_BODY, headers=JSON) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert problem(answers[-1], 429)["type"].endswith(":too_fast")
        assert answers[-1].headers["Retry-After"] == "1"
        assert client.get("/live").status_code == 200


@pytest.fixture
def not_migrated(new_platform: Callable[..., Settings], tree_bundle: MadeBundle) -> Settings:
    settings = new_platform().model_copy(update={"mlflow_url": NOWHERE, "model_name": "diabetes_readmission_model"})
    put_in_cache(settings.home, tree_bundle.folder, "7")
    return settings


@pytest.fixture
def kept(not_migrated: Settings) -> Settings:
    assert not_migrated.platform_database_url is not None
    migrate(not_migrated.platform_database_url)
    return not_migrated


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    assert settings.platform_database_url is not None
    with psycopg.connect(settings.platform_database_url.get_secret_value()) as connection:
        found = connection.execute("SELECT to_regclass('predictions')").fetchone()
        return connection.execute(query.encode()).fetchall() if found and found[0] else []


def test_predictions_and_feedback_arrive_in_the_database(kept: Settings) -> None:
    body = json.loads(FULL_BODY)
    body["features"] |= {"patient_nbr": 4711, "readmitted": "NO"}
    with calling(create_app(kept)) as client:
        answers = [client.post("/predict", json=body) for _ in range(3)]
        batch = client.post("/predict/batch", json={"records": [{"race": "Asian", "age": "[10-20)\\"}]}).json()
        identifier = answers[0].headers["X-Prediction-Id"]
        told = client.post("/feedback", json={"prediction_id": identifier, "readmitted": "<30"})
        assert told.status_code == 202
        assert eventually(lambda: len(rows(kept, "SELECT 1 FROM predictions")) == 4)
        assert eventually(lambda: "predictions_logged_total 5.0" in client.get("/metrics").text)
    found = {str(row[0]): row[1:] for row in rows(kept, "SELECT id, model_version, features, probabilities,"
             " readmission_class FROM predictions")}  # fmt: skip
    assert set(found) == {*(a.headers["X-Prediction-Id"] for a in answers), batch["predictions"][0]["prediction_id"]}
    version, features, probabilities, label = found[identifier]
    assert version == "7"
    assert features == json.loads(FULL_BODY)["features"]
    content = answers[0].json()
    assert probabilities == [content["probabilities"][name] for name in ("NO", ">30", "<30")]
    assert label == content["readmission_prediction"]
    batched = found[batch["predictions"][0]["prediction_id"]][1]
    assert {name: batched[name] for name in ("race", "age")} == {"race": "Asian", "age": "[10-20)\\"}  # type: ignore[index]
    assert rows(kept, "SELECT prediction_id::text, readmitted FROM feedback") == [(identifier, "<30")]


def test_a_graceful_stop_loses_no_prediction(kept: Settings) -> None:
    with calling(create_app(kept)) as client:
        for _ in range(40):
            assert client.post("/predict", content=FULL_BODY, headers=JSON).status_code == 200
    assert rows(kept, "SELECT count(*) FROM predictions") == [(40,)]


def test_predictions_of_a_time_without_database_arrive_later(kept: Settings) -> None:
    away = kept.model_copy(update={"platform_database_url": SecretStr("postgresql://a:b@127.0.0.1:9/none")})
    with calling(create_app(away)) as client:
        assert client.post("/predict", content=FULL_BODY, headers=JSON).status_code == 200
        assert eventually(lambda: "prediction_store_up 0.0" in client.get("/metrics").text)
    assert rows(kept, "SELECT 1 FROM predictions") == []
    with calling(create_app(kept)):
        assert eventually(lambda: len(rows(kept, "SELECT 1 FROM predictions")) == 1)


def test_predictions_of_a_time_before_the_migration_arrive_after_it(
    not_migrated: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The API makes no tables: who starts it first finds everything stored once ``readmission migrate`` has run."""
    assert not_migrated.platform_database_url is not None
    with calling(create_app(not_migrated)) as client:
        for _ in range(3):
            assert client.post("/predict", content=FULL_BODY, headers=JSON).status_code == 200
        assert eventually(lambda: "platform_db has no tables yet: run `readmission migrate`" in caplog.text)
        assert "prediction_store_up 0.0" in client.get("/metrics").text
        assert rows(not_migrated, "SELECT 1 FROM predictions") == []
        migrate(not_migrated.platform_database_url)
        assert eventually(lambda: len(rows(not_migrated, "SELECT 1 FROM predictions")) == 3)
        assert "predictions_dropped_total 0.0" in client.get("/metrics").text
