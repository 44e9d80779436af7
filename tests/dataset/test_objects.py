import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from readmission.dataset.objects import ObjectStore
from readmission.dataset.source_file import silent
from readmission.errors import BadInputError, ServiceDownError
from readmission.services import Services

SEVERAL_PARTS = 20 << 20


@pytest.fixture
def store(services: Services) -> ObjectStore:
    return ObjectStore(services)


def elsewhere(services: Services, **changes: object) -> Services:
    return services.model_copy(update=changes)


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\r\n1,2\r\n", bytes(range(256)) * (SEVERAL_PARTS // 256)],
    ids=["nothing", "lines", "several parts"],
)
def test_a_file_comes_back_byte_for_byte(store: ObjectStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").write_bytes(content)
    store.put(tmp_path / "out", f"objects/{len(content)}")
    store.get(f"objects/{len(content)}", tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == content


def test_only_what_was_put_exists(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"1")
    assert not store.exists("objects/new")
    store.put(tmp_path / "out", "objects/new")
    assert store.exists("objects/new")
    assert not store.exists("objects/ne")


def test_the_mark_changes_with_the_content(store: ObjectStore, tmp_path: Path) -> None:
    marks = set()
    for content in (b"1", b"2", b"1"):
        (tmp_path / "out").write_bytes(content)
        store.put(tmp_path / "out", "objects/marked")
        marks.add(store.etag("objects/marked"))
    assert len(marks) == 2
    assert None not in marks
    assert store.etag("objects/unmarked") is None


def test_the_bucket_is_created_by_the_first_put(services: Services, tmp_path: Path) -> None:
    store = ObjectStore(services).at("made-by-put")
    (tmp_path / "out").write_bytes(b"1")
    assert not store.exists("key")
    store.put(tmp_path / "out", "key")
    store.put(tmp_path / "out", "key2")
    assert store.exists("key")
    assert not ObjectStore(services).exists("key")


def test_asking_creates_no_bucket(services: Services, tmp_path: Path) -> None:
    store = ObjectStore(services).at("only-asked-for")
    assert not store.exists("key")
    with pytest.raises(BadInputError) as caught:
        store.get("key", tmp_path / "in")
    assert str(caught.value) == f"s3://only-asked-for/key: no such object at {services.s3_url}"
    assert "only-asked-for" not in {bucket["Name"] for bucket in store._client.list_buckets()["Buckets"]}


def test_a_missing_object_leaves_the_older_file(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"older")
    with pytest.raises(BadInputError, match="objects/none: no such object"):
        store.get("objects/none", tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_progress_ends_at_the_size(store: ObjectStore, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    (tmp_path / "out").write_bytes(b"x" * SEVERAL_PARTS)
    store.put(tmp_path / "out", "objects/large", lambda *step: told.append(step))
    store.get("objects/large", tmp_path / "in", lambda *step: told.append(step))
    for what in ("upload", "fetch"):
        done = [step[1] for step in told if step[0] == what]
        assert done == sorted(done)
        assert done[-1] == SEVERAL_PARTS
        assert len(done) > 2
    assert {step[2] for step in told} == {SEVERAL_PARTS}


def test_a_server_that_is_down(services: Services, closed_url: str, tmp_path: Path) -> None:
    store = ObjectStore(elsewhere(services, s3_url=closed_url))
    (tmp_path / "out").write_bytes(b"1")
    for call in (
        lambda: store.exists("key"),
        lambda: store.put(tmp_path / "out", "key"),
        lambda: store.get("key", tmp_path / "in", silent),
    ):
        with pytest.raises(ServiceDownError) as caught:
            call()
        assert str(caught.value).startswith(f"S3 at {closed_url} does not answer (EndpointConnectionError); ")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("field", ["s3_access_key", "s3_secret_key"])
def test_a_wrong_login(services: Services, tmp_path: Path, field: str) -> None:
    store = ObjectStore(elsewhere(services, **{field: SecretStr("wrong-and-secret")}))
    (tmp_path / "out").write_bytes(b"1")
    with pytest.raises(ServiceDownError, match="refuses"):
        store.put(tmp_path / "out", "key")
    with pytest.raises(ServiceDownError) as caught:
        store.exists("key")
    assert str(caught.value).startswith(f"S3 at {services.s3_url} refuses s3://{services.s3_bucket}/key (")
    assert "READMISSION_S3_SECRET_KEY" in str(caught.value)
    assert "wrong-and-secret" not in str(caught.value)


def test_a_host_that_does_not_exist(services: Services) -> None:
    store = ObjectStore(elsewhere(services, s3_url="http://no-such-host.invalid:9000"))
    with pytest.raises(ServiceDownError, match=r"S3 at http://no-such-host\.invalid:9000 does not answer"):
        store.exists("key")


def test_a_server_that_breaks_off_every_time(services: Services, tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.send_header("ETag", '"mark"')
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(b"x" * 10)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with pytest.raises(ServiceDownError, match=f"^S3 at {url} does not answer"):
                ObjectStore(elsewhere(services, s3_url=url)).get("key", tmp_path / "in")
        finally:
            server.shutdown()
            thread.join()
    assert not (tmp_path / "in").exists()
