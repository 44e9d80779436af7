import os
import runpy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from processes import ask, descendants
from readmission.local.credentials import ensure_credentials
from readmission.local.mlflow_server import MlflowServer
from readmission.local.s3 import s3_client
from readmission.services import Services, local_credentials
from readmission.settings import Settings


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=services.mlflow_url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def run_info(client: httpx.Client) -> dict[str, str]:
    experiment = client.post("/api/2.0/mlflow/experiments/create", json={"name": "local stack"}).raise_for_status()
    body = {"experiment_id": experiment.json()["experiment_id"], "start_time": 1}
    answer = client.post("/api/2.0/mlflow/runs/create", json=body).raise_for_status().json()
    return dict(answer["run"]["info"])


def test_clients_are_sent_to_the_server_for_artifacts(run_info: dict[str, str]) -> None:
    assert run_info["artifact_uri"].startswith("mlflow-artifacts:/")


def test_metadata_is_kept(client: httpx.Client, run_info: dict[str, str]) -> None:
    run_id = run_info["run_id"]
    metric = {"run_id": run_id, "key": "val_f1_macro", "value": 0.5, "timestamp": 1}
    client.post("/api/2.0/mlflow/runs/log-metric", json=metric).raise_for_status()
    answer = client.get("/api/2.0/mlflow/runs/get", params={"run_id": run_id}).raise_for_status().json()
    assert answer["run"]["data"]["metrics"][0]["value"] == 0.5


def test_artifacts_go_through_the_server_into_the_bucket(client: httpx.Client, services: Services) -> None:
    body = bytes(range(256)) * 30_000  # 7.7 MB
    path = "/api/2.0/mlflow-artifacts/artifacts/probe/model.onnx"
    client.put(path, content=body).raise_for_status()
    assert client.get(path).content == body
    secrets = services.s3_access_key.get_secret_value(), services.s3_secret_key.get_secret_value()
    objects = s3_client(services.s3_url, *secrets, 30).list_objects_v2(Bucket="mlflow", Prefix="probe/")
    assert [item["Size"] for item in objects["Contents"]] == [len(body)]


def test_an_alias_can_be_set_and_asked_for(client: httpx.Client, run_info: dict[str, str]) -> None:
    model = "local_stack_model"
    client.post("/api/2.0/mlflow/registered-models/create", json={"name": model}).raise_for_status()
    version = {"name": model, "source": run_info["artifact_uri"], "run_id": run_info["run_id"]}
    client.post("/api/2.0/mlflow/model-versions/create", json=version).raise_for_status()
    alias = {"name": model, "alias": "production", "version": "1"}
    client.post("/api/2.0/mlflow/registered-models/alias", json=alias).raise_for_status()
    found = client.get("/api/2.0/mlflow/registered-models/alias", params={"name": model, "alias": "production"})
    assert found.json()["model_version"]["version"] == "1"


def test_a_page_from_elsewhere_cannot_reach_it_by_name(client: httpx.Client) -> None:
    answer = client.get("/api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": "evil.example"})
    assert answer.status_code == 403


def test_it_is_one_process(stack: Settings) -> None:
    found = ask(descendants(os.getpid()), lambda process: (process.cmdline(), process.children()))
    servers = [children for line, children in found if any("mlflow_app" in part for part in line)]
    assert servers == [[]]


def test_secrets_are_in_the_environment_only(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    program = MlflowServer(settings, ensure_credentials(settings)).program()
    for name in ("mlflow_user", "s3_access_key", "s3_secret_key"):
        secret = local_credentials(settings)[name]
        assert any(secret in value for value in program.environment.values())
        assert not any(secret in part for part in program.command)


def test_own_settings_of_mlflow_and_aws_do_not_reach_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    settings = Settings(home=tmp_path)
    environment = MlflowServer(settings, ensure_credentials(settings)).program().environment
    assert "MLFLOW_TRACKING_URI" not in environment
    assert "AWS_PROFILE" not in environment
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_variables_are_those_of_the_installed_mlflow(tmp_path: Path) -> None:
    package = find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    # Read alone: importing the package around it takes seconds.
    constants = runpy.run_path(str(Path(package.origin).parent / "server" / "constants.py"))
    settings = Settings(home=tmp_path)
    environment = MlflowServer(settings, ensure_credentials(settings)).program().environment
    names = ("BACKEND_STORE_URI", "ARTIFACT_ROOT", "ARTIFACTS_DESTINATION", "SERVE_ARTIFACTS")
    assert {constants[f"{name}_ENV_VAR"] for name in names} <= set(environment)
