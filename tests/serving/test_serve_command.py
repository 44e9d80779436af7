"""``readmission serve``: logs, several processes, their end."""

import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running_api import NOWHERE, put_in_cache
from serving_bundle import MadeBundle

import plain_http
from api_process import ApiProcess, api_process, serve_command, serve_environment
from documented import FULL_BODY, PARTIAL_BODY
from free_ports import free_port

JSON = {"Content-Type": "application/json"}
CALLS = 60


def metric(url: str, name: str, **labels: str) -> float:
    text = plain_http.get(f"{url}/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def predict(url: str, times: int = 1) -> httpx.Response:
    """Each time on a connection of its own, so that every process gets some."""
    for _ in range(times):
        answer = plain_http.post(f"{url}/predict", content=FULL_BODY, headers=JSON)
        assert answer.status_code == 200
    return answer


def wait_for_the_end_of(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []


@pytest.fixture
def home(tmp_path: Path, tree_bundle: MadeBundle) -> Path:
    put_in_cache(tmp_path, tree_bundle.folder, "3")
    return tmp_path


def test_every_line_of_the_log_is_json_and_none_holds_a_value(home: Path) -> None:
    with api_process(home, mlflow_url=NOWHERE) as api:
        good = predict(api.url)
        bad = plain_http.post(f"{api.url}/predict?race=Hispanic", json={"features": {"race": 1}})
        assert api.stop() in (0, -15)
        lines = api.logged()
    requests = {line["request_id"]: line for line in lines if line["name"].endswith("access_log")}
    answered = requests[good.headers["X-Request-Id"]]
    assert (answered["method"], answered["path"], answered["status"]) == ("POST", "/predict", 200)
    assert answered["level"] == "INFO"
    assert 0 < answered["seconds"] < 10
    refused = requests[bad.headers["X-Request-Id"]]
    assert (refused["path"], refused["status"]) == ("/predict", 422)
    said = {line["message"] for line in lines}
    assert "Model version 3 of diabetes_readmission_model serves" in said
    assert all({"time", "level", "name", "message"} <= line.keys() for line in lines)
    text = api.log.read_text()
    assert "Caucasian" not in text
    assert "Hispanic" not in text


def test_the_log_names_the_key_of_a_caller_and_never_the_key(home: Path) -> None:
    made = subprocess.run(
        [*serve_command(1)[:4], "api-key", "ward-3"], env=serve_environment(home), capture_output=True, text=True
    ).stdout.splitlines()
    key, entry = (line.rpartition(" ")[2] for line in made)
    with api_process(home, mlflow_url=NOWHERE, api_keys=entry) as api:
        answer = plain_http.get(f"{api.url}/model-info", headers={"X-API-Key": key})
        assert answer.status_code == 200
        api.stop()
        lines = api.logged()
    assert [line["caller"] for line in lines if line.get("path") == "/model-info"] == ["ward-3"]
    assert key not in api.log.read_text()


def test_requests_are_not_logged_if_so_set(home: Path) -> None:
    with api_process(home, mlflow_url=NOWHERE, access_log="false") as api:
        predict(api.url)
        api.stop()
        assert not [line for line in api.logged() if "path" in line]


@pytest.fixture
def two(home: Path) -> "ApiProcess":
    with api_process(home, mlflow_url=NOWHERE, api_workers="2") as api:
        while len(api.workers()) < 2 or metric(api.url, "model_info") < 1:
            pass
        yield api


def test_metrics_are_those_of_all_processes(two: ApiProcess) -> None:
    predict(two.url, CALLS)
    served = {"endpoint": "/predict", "status": "200", "model_version": "3"}
    assert [metric(two.url, "predict_requests_total", **served) for _ in range(8)] == [CALLS] * 8
    assert metric(two.url, "predict_latency_seconds_count", endpoint="/predict") == CALLS
    assert metric(two.url, "predictions_total", model_version="3") == CALLS
    assert metric(two.url, "predict_requests_in_progress") == 0
    assert metric(two.url, "model_info", model_version="3") == 1


def test_a_process_that_dies_is_replaced_and_what_it_counted_stays(two: ApiProcess) -> None:
    predict(two.url, CALLS)
    first, second = two.workers()
    first.kill()
    while first.pid in {worker.pid for worker in two.workers()} or len(two.workers()) < 2:
        pass
    two.wait_until_ready()
    predict(two.url, CALLS)
    assert metric(two.url, "predictions_total", model_version="3") == 2 * CALLS
    assert metric(two.url, "prediction_store_up") in (0, 1)
    assert second.is_running()


def test_metrics_of_an_earlier_run_are_forgotten(home: Path) -> None:
    for _ in range(2):
        with api_process(home, mlflow_url=NOWHERE, api_workers="2") as api:
            predict(api.url, 3)
            assert metric(api.url, "predictions_total") == 3
            api.stop()


def test_all_processes_end_when_asked(two: ApiProcess) -> None:
    workers = two.workers()
    assert two.stop() in (0, -15)
    wait_for_the_end_of(workers)


def test_no_process_outlives_the_one_that_started_it(two: ApiProcess) -> None:
    workers = two.workers()
    two.process.kill()
    wait_for_the_end_of(workers)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wrong_setting_is_one_line(home: Path, workers: str) -> None:
    variables = serve_environment(home, api_keys="nonsense", api_workers=workers)
    done = subprocess.run(serve_command(free_port()), env=variables, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("readmission: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_taken_port_is_one_line(home: Path) -> None:
    with api_process(home, mlflow_url=NOWHERE) as api:
        port = int(api.url.rpartition(":")[2])
        done = subprocess.run(
            serve_command(port), env=serve_environment(home, mlflow_url=NOWHERE), capture_output=True, text=True
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert str(port) in done.stderr
    assert PARTIAL_BODY not in done.stderr


def test_a_batch_reads_no_library_that_training_needs(home: Path) -> None:
    with api_process(home, mlflow_url=NOWHERE) as api:
        lines = "race,age\n" + "Asian,[70-80)\n" * 100
        headers = {"Content-Type": "text/csv"}
        answer = plain_http.post(f"{api.url}/predict/batch", content=lines, headers=headers)
        assert answer.text.count("\n") == 101
        mapped = Path(f"/proc/{api.process.pid}/maps").read_text()
    assert "pyarrow" in mapped
    assert "/pandas/" not in mapped
    assert "/sklearn/" not in mapped
