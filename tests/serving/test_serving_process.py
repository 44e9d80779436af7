"""The API as a process: what it imports, how it starts and stops, and a model swapped under load."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_mlflow import FaultyMlflow
from running_api import NOWHERE, calling, put_in_cache, serving
from serving_bundle import MadeBundle

import plain_http
from documented import FULL_BODY, HEALTH
from load import Load
from readmission.errors import BadInputError
from readmission.serving.app import create_app
from readmission.settings import Settings

SOURCE = Path(__file__).resolve().parents[2] / "src"
FORBIDDEN = (
    "pandas",
    "sklearn",
    "scipy",
    "mlflow",
    "lightgbm",
    "onnx",
    "skl2onnx",
    "httpx",
    "requests",
    "sqlalchemy",
    "alembic",
)
JSON = {"Content-Type": "application/json"}


def environment(home: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("READMISSION_")}
    return {**kept, "PYTHONPATH": str(SOURCE), "READMISSION_HOME": str(home), **variables}


def test_the_process_imports_no_training_library(tmp_path: Path, tree_bundle: MadeBundle) -> None:
    put_in_cache(tmp_path, tree_bundle.folder)
    script = (
        "import sys, asyncio\n"
        "from readmission.serving.app import create_app\n"
        "app = create_app()\n"
        "async def run():\n"
        "    inner = app._app\n"
        "    async with inner.router.lifespan_context(inner):\n"
        "        await asyncio.sleep(0.1)\n"
        "asyncio.run(run())\n"
        "print(' '.join(sys.modules))\n"
    )
    command = [sys.executable, "-c", script]
    variables = environment(tmp_path, READMISSION_MLFLOW_URL=NOWHERE)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"onnxruntime", "fastapi", "readmission"} <= loaded
    assert loaded.isdisjoint(FORBIDDEN)


def test_uvicorn_runs_the_factory_from_disk_alone(tmp_path: Path, tree_bundle: MadeBundle) -> None:
    put_in_cache(tmp_path, tree_bundle.folder, "12")
    command = [
        sys.executable, "-m", "uvicorn", "readmission.serving.app:create_app", "--factory", "--port", "0",
    ]  # fmt: skip
    variables = environment(tmp_path, READMISSION_MLFLOW_URL=NOWHERE)
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if "Uvicorn running on" in line:
                url = line.split("running on ")[1].split()[0]
                assert plain_http.get(f"{url}/health").content == HEALTH
                answer = plain_http.post(f"{url}/predict", content=FULL_BODY, headers=JSON)
                process.terminate()
    assert answer.headers["X-Model-Version"] == "12"
    assert process.returncode in (0, -15)
    assert "Traceback" not in "".join(log)
    assert "Caucasian" not in "".join(log)


def test_a_wrong_address_of_mlflow_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="READMISSION_MLFLOW_URL"):
        create_app(Settings(home=tmp_path, mlflow_url="mlflow:8002"))


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READMISSION_HOME", str(tmp_path))
    monkeypatch.setenv("READMISSION_MODEL_NAME", "another_model")
    with calling(create_app()) as client:
        assert client.get("/health").json() == {"status": "no model", "model": "another_model"}


def wait_for_version(url: str, version: str) -> None:
    """Wait until the API serves this version; the test's own time limit ends a vain wait."""
    while plain_http.get(f"{url}/ready").json().get("model_version") != version:
        time.sleep(0.02)


@pytest.mark.alone
def test_models_change_under_load_without_a_failure(
    tmp_path: Path, mlflow: FaultyMlflow, tree_bundle: MadeBundle, linear_bundle: MadeBundle
) -> None:
    mlflow.publish("1", tree_bundle.folder)
    app = create_app(Settings(home=tmp_path, mlflow_url=mlflow.url, model_poll_seconds=0.02))
    with serving(app) as url:
        wait_for_version(url, "1")
        with Load(url, FULL_BODY) as load:
            for version, made in (("2", linear_bundle), ("3", tree_bundle), ("4", linear_bundle)):
                mlflow.publish(version, made.folder)
                wait_for_version(url, version)
                load.wait_for_more(100)
    load.check()
    load.check_rate()
    assert load.versions >= {"2", "3", "4"}


def test_the_process_stops_while_mlflow_hangs(tmp_path: Path, mlflow: FaultyMlflow, tree_bundle: MadeBundle) -> None:
    mlflow.publish("1", tree_bundle.folder)
    mlflow.delay = 3600.0
    app = create_app(Settings(home=tmp_path, mlflow_url=mlflow.url, model_poll_seconds=0.02))
    with serving(app) as url:
        while not mlflow.requests:
            time.sleep(0.01)
        assert plain_http.get(f"{url}/live").status_code == 200
    # Leaving the block joins the server's thread: the call under way was ended, or this would wait for its time-out.
    assert len(mlflow.requests) == 1
