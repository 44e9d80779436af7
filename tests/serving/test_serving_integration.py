"""The API against a real MLflow with its artifact proxy: publish, load, swap while requests run."""

import time
from pathlib import Path

import httpx
import pytest
from running_api import serving
from serving_bundle import MODEL_NAME, MadeBundle
from test_serving_process import wait_for_version

import plain_http
from documented import FULL_BODY
from load import Load
from readmission.errors import BadInputError
from readmission.mlflow_rest import MlflowRest
from readmission.model_bundle import files as bundle
from readmission.serving.app import create_app
from readmission.settings import Settings

API = "/api/2.0/mlflow"


class Publisher:
    """Registers bundle folders by REST, as a publisher with MLflow's client does."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        created = self._post(f"{API}/experiments/create", name=f"serving-{name}")
        self._experiment_id = created["experiment_id"]
        self._post(f"{API}/registered-models/create", name=name)

    def _post(self, path: str, **content: object) -> dict[str, str]:
        answer = self._http.post(path, json=content)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def publish(self, folder: Path, files: tuple[str, ...] = bundle.FILES, as_run: bool = False) -> str:
        info = self._http.post(f"{API}/runs/create", json={"experiment_id": self._experiment_id}).json()["run"]["info"]
        place = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        for name in files:
            path = f"/api/2.0/mlflow-artifacts/artifacts/{place}/bundle/{name}"
            assert self._http.put(path, content=(folder / name).read_bytes()).status_code == 200
        source = f"runs:/{info['run_id']}/bundle" if as_run else f"{info['artifact_uri']}/bundle"
        created = {"name": self.name, "source": source, "run_id": info["run_id"]}
        version = self._http.post(f"{API}/model-versions/create", json=created).json()["model_version"]["version"]
        self._post(f"{API}/registered-models/alias", name=self.name, alias="production", version=str(version))
        return str(version)

    def close(self) -> None:
        self._http.close()


@pytest.mark.alone
def test_a_published_model_is_loaded_and_swapped(
    stack: Settings,
    tmp_path: Path,
    tree_bundle: MadeBundle,
    linear_bundle: MadeBundle,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = stack.mlflow_url or f"http://127.0.0.1:{stack.mlflow_port}"
    name = f"{MODEL_NAME}_serving_test"
    assert MlflowRest(url).production_version(name) is None  # no such model
    publisher = Publisher(url, name)
    assert MlflowRest(url).production_version(name) is None  # no such alias
    settings = Settings(home=tmp_path, mlflow_url=url, model_name=name, model_poll_seconds=0.1)
    with serving(create_app(settings)) as api:
        assert plain_http.get(f"{api}/ready").status_code == 503
        first = publisher.publish(tree_bundle.folder)
        wait_for_version(api, first)
        with Load(api, FULL_BODY) as load:
            second = publisher.publish(linear_bundle.folder, as_run=True)
            wait_for_version(api, second)
            incomplete = publisher.publish(tree_bundle.folder, files=bundle.FILES[:3])
            while f"version {incomplete} cannot be loaded" not in caplog.text:
                time.sleep(0.02)
            third = publisher.publish(tree_bundle.folder)
            wait_for_version(api, third)
        info = plain_http.get(f"{api}/model-info").json()
    publisher.close()
    load.check()
    load.check_rate()
    assert {first, second} <= load.versions <= {first, second, third}
    assert incomplete not in load.versions
    assert (info["version"], info["model_type"]) == (third, "decision_tree")

    with serving(create_app(settings.model_copy(update={"mlflow_url": "http://127.0.0.1:9"}))) as api:
        answer = plain_http.post(f"{api}/predict", content=FULL_BODY, headers={"Content-Type": "application/json"})
    assert answer.headers["X-Model-Version"] == third


@pytest.mark.parametrize("as_run", [False, True])
def test_an_incomplete_version_is_told_from_trouble(
    stack: Settings, tmp_path: Path, tree_bundle: MadeBundle, as_run: bool
) -> None:
    url = stack.mlflow_url or f"http://127.0.0.1:{stack.mlflow_port}"
    publisher = Publisher(url, f"{MODEL_NAME}_incomplete_{as_run}")
    publisher.publish(tree_bundle.folder, files=(), as_run=as_run)
    publisher.close()
    rest = MlflowRest(url)
    version = rest.production_version(publisher.name)
    assert version is not None
    with pytest.raises(BadInputError, match=r"model\.onnx.*missing"):
        rest.download_bundle(version, tmp_path)
