"""What MLflow says is believed only when MLflow says it."""

import json
import socket
import threading
from pathlib import Path

import pytest
from faulty_mlflow import ARTIFACTS, FaultyMlflow, json_answer
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_bundle import MODEL_NAME, MadeBundle

from readmission.errors import BadInputError, ServiceDownError
from readmission.mlflow_rest import MlflowRest, ModelVersion
from readmission.model_bundle import files as bundle

ALIAS = "/api/2.0/mlflow/registered-models/alias"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_the_alias_names_the_version(mlflow: FaultyMlflow, tree_bundle: MadeBundle) -> None:
    published = mlflow.publish("4", tree_bundle.folder)
    assert MlflowRest(mlflow.url).production_version(MODEL_NAME) == published
    assert published.run_id == "run4"


def test_no_alias_and_no_model_are_no_version(mlflow: FaultyMlflow) -> None:
    rest = MlflowRest(mlflow.url)
    assert rest.production_version(MODEL_NAME) is None
    assert rest.production_version("another") is None


SOURCES = [
    "mlflow-artifacts:/1/run4/artifacts/bundle",
    "mlflow-artifacts://elsewhere:5000/1/run4/artifacts/bundle",
    "http://elsewhere:5000/api/2.0/mlflow-artifacts/artifacts/1/run4/artifacts/bundle",
    "runs:/run4/bundle",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_bundle_is_fetched_whole(mlflow: FaultyMlflow, tree_bundle: MadeBundle, tmp_path: Path, source: str) -> None:
    published = mlflow.publish("4", tree_bundle.folder, source)
    MlflowRest(mlflow.url).download_bundle(published, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(bundle.FILES)
    for name in bundle.FILES:
        assert (tmp_path / name).read_bytes() == (tree_bundle.folder / name).read_bytes()
    assert f"{ARTIFACTS}/1/run4/artifacts/bundle/model.onnx" in mlflow.requests


def test_a_path_prefix_of_the_server_is_kept(mlflow: FaultyMlflow) -> None:
    mlflow.faults["/mlflow/api"] = lambda: json_answer({"error_code": "RESOURCE_DOES_NOT_EXIST"}, 404)
    assert MlflowRest(f"{mlflow.url}/mlflow/").production_version(MODEL_NAME) is None
    assert mlflow.requests[0].startswith(f"/mlflow{ALIAS}?")


@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket/1/run4/artifacts/bundle",
        "file:///etc",
        "models:/m-1",
        "mlflow-artifacts:/1/../../secret",
        "mlflow-artifacts:/",
        "http://elsewhere/bundle",
        "http://[broken",
        "",
    ],
)
def test_a_source_outside_the_proxy_is_refused(mlflow: FaultyMlflow, tmp_path: Path, source: str) -> None:
    version = ModelVersion(name=MODEL_NAME, version="4", source=source)
    with pytest.raises(BadInputError, match="artifact proxy"):
        MlflowRest(mlflow.url).download_bundle(version, tmp_path)
    assert mlflow.requests == []


def test_an_incomplete_bundle_is_refused(mlflow: FaultyMlflow, copied_bundle: Path, tmp_path: Path) -> None:
    (copied_bundle / bundle.DECISION_FILE).unlink()
    published = mlflow.publish("4", copied_bundle)
    with pytest.raises(BadInputError, match=r"decision\.json missing"):
        MlflowRest(mlflow.url).download_bundle(published, tmp_path)


FAULTS = {
    "server error": json_answer({"error_code": "INTERNAL_ERROR"}, 500),
    "not json": (200, "application/json", b"{"),
    "a web page": (200, "text/html", b"<html>sign in</html>"),
    "a web page, not found": (404, "text/html", b"<html>gone</html>"),
    "another shape": json_answer({"model_version": []}),
    "a version that is a path": json_answer({"model_version": {"name": MODEL_NAME, "version": "../1", "source": "s"}}),
    "another model": json_answer({"model_version": {"name": "other", "version": "1", "source": "s"}}),
    "deeply nested": (200, "application/json", b"[" * 100_000),
    "too long": (200, "application/json", b" " * (2 << 20)),
    "forbidden": json_answer({"error_code": "PERMISSION_DENIED"}, 403),
    "absent, of another kind": json_answer({"error_code": "ENDPOINT_NOT_FOUND"}, 404),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_not_mlflows_counts_as_down(mlflow: FaultyMlflow, fault: str) -> None:
    mlflow.faults[ALIAS] = lambda: FAULTS[fault]
    with pytest.raises(ServiceDownError) as caught:
        MlflowRest(mlflow.url).production_version(MODEL_NAME)
    assert "\n" not in str(caught.value)


@settings(max_examples=60)
@given(content=JSON, wrapped=st.booleans())
def test_no_json_breaks_the_lookup(mlflow: FaultyMlflow, content: object, wrapped: bool) -> None:
    body = {"model_version": {"name": MODEL_NAME, "version": "1", "source": content}} if wrapped else content
    mlflow.faults[ALIAS] = lambda: json_answer(body)
    try:
        found = MlflowRest(mlflow.url).production_version(MODEL_NAME)
    except ServiceDownError:
        return
    assert found is not None
    assert found.source == content


@pytest.mark.parametrize("reply", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_bytes_that_are_no_http_count_as_down(reply: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServiceDownError, match="does not answer"):
            MlflowRest(f"http://127.0.0.1:{listener.getsockname()[1]}").production_version(MODEL_NAME)
        thread.join()


def test_a_refused_connection_counts_as_down() -> None:
    with pytest.raises(ServiceDownError, match="ConnectionRefusedError"):
        MlflowRest("http://127.0.0.1:9").production_version(MODEL_NAME)


def test_a_silent_server_counts_as_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ServiceDownError, match="TimeoutError"):
        MlflowRest(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.05).production_version(MODEL_NAME)


def test_a_call_under_way_can_be_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rest = MlflowRest(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60)

        def end_it() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nabc")  # and then nothing
                rest.close()

        thread = threading.Thread(target=end_it)
        thread.start()
        with pytest.raises(ServiceDownError):
            rest.production_version(MODEL_NAME)
        thread.join()
        with pytest.raises(ServiceDownError, match="closed"):
            rest.production_version(MODEL_NAME)


@pytest.mark.parametrize(
    "fault",
    [
        (200, "text/html; charset=utf-8", b"<html>sign in</html>"),
        (500, "application/json", b"{}"),
        (404, "application/json", b"{}"),
        (200, "application/octet-stream", b"half"),
    ],
)
def test_a_file_that_is_not_the_file_may_be_tried_again(
    mlflow: FaultyMlflow, tree_bundle: MadeBundle, tmp_path: Path, fault: tuple[int, str, bytes]
) -> None:
    published = mlflow.publish("4", tree_bundle.folder)
    mlflow.faults[f"{ARTIFACTS}/1/run4/artifacts/bundle/encoder.json"] = lambda: fault
    with pytest.raises(ServiceDownError, match=r"encoder\.json"):
        MlflowRest(mlflow.url).download_bundle(published, tmp_path)


def test_a_connection_that_ends_early_counts_as_down(mlflow: FaultyMlflow) -> None:
    mlflow.claimed_length = 10_000
    with pytest.raises(ServiceDownError, match=r"IncompleteRead|Timeout"):
        MlflowRest(mlflow.url, 0.5).production_version(MODEL_NAME)


@pytest.mark.parametrize(
    "url", ["", "mlflow", "ftp://host", "file:///etc/passwd", "http://", "http://h:x", "http://[1"]
)
def test_an_address_that_is_none_stops_the_start(url: str) -> None:
    with pytest.raises(BadInputError, match="READMISSION_MLFLOW_URL"):
        MlflowRest(url)


def test_a_password_in_the_address_is_not_repeated() -> None:
    assert "secret" not in MlflowRest("http://user:secret@host:5000").address


def test_a_version_reads_back_from_json() -> None:
    version = ModelVersion(name="m", version="1", source="s", run_id="r")
    assert ModelVersion.model_validate(json.loads(version.model_dump_json())) == version
