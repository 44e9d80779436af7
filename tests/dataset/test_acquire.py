import gzip
import hashlib
import json
import os
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from readmission.dataset import acquire as acquire_module
from readmission.dataset import archive, download, sources
from readmission.dataset.acquire import acquire, acquire_or_synthetic, open_dataset
from readmission.dataset.cache import Cache
from readmission.dataset.model import Dataset, silent
from readmission.dataset.objects import ObjectStore
from readmission.dataset.sources import parse_source
from readmission.errors import BadInputError, ReadmissionError, ServiceDownError
from readmission.schema import COLUMNS, CSV_SHA256
from readmission.services import Services
from readmission.settings import Settings

PRIVATE = "PRIVATE77"
HIDDEN = "hunter2"
UNKNOWN_DIGEST = "0" * 64


def example_csv(first_id: int = 1, rows: int = 3) -> bytes:
    example = [column.example for column in COLUMNS[1:]]
    lines = [",".join(column.name for column in COLUMNS)]
    lines += [",".join([str(first_id + row), *example]) for row in range(rows)]
    return "".join(line + "\r\n" for line in lines).encode()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return path


@dataclass
class Site:
    """A web site: what it serves by path, and what it was asked for."""

    url: str
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)

    def serve(self, path: str, content: bytes, status: int = 200, length: int | None = None, **headers: str) -> str:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Content-Length", str(len(content) if length is None else length))
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(content)

        self.answers[path] = answer
        return self.url + path

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        self.logins.append(request.headers.get("Authorization"))
        self.answers[urlsplit(request.path).path](request)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home of its own, with nothing in it."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def bucket(services: Services, request: pytest.FixtureRequest) -> Services:
    """A bucket of its own, not yet there."""
    name = f"data-{sha256_of(request.node.nodeid.encode())[:20]}"
    return services.model_copy(update={"s3_bucket": name})


def get(home: Settings, bucket: Services, source: object = None, **changes: object) -> Dataset:
    text = None if source is None else str(source)
    return acquire(home.model_copy(update=changes), bucket, text, silent)


def refusal(
    home: Settings, bucket: Services, source: object, kind: type[ReadmissionError] = BadInputError, **changes: object
) -> str:
    """The message; checks that neither the cache nor S3 was touched."""
    before = cached(home), stored(bucket)
    with pytest.raises(kind) as caught:
        get(home, bucket, source, **changes)
    assert (cached(home), stored(bucket)) == before
    message = str(caught.value)
    assert "\n" not in message
    assert PRIVATE not in message
    assert HIDDEN not in message
    return message


def cached(home: Settings) -> dict[str, bytes]:
    """Every file below the cache by name."""
    folder = home.home / "data"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")} if folder.exists() else {}


def stored(bucket: Services) -> set[str]:
    store = store_of(bucket)
    if not any(known["Name"] == store.bucket for known in store._client.list_buckets()["Buckets"]):
        return set()
    return {item["Key"] for item in store._client.list_objects_v2(Bucket=store.bucket).get("Contents", [])}


@cache
def store_at(url: str, access_key: str, secret_key: str) -> ObjectStore:
    login = {"s3_access_key": SecretStr(access_key), "s3_secret_key": SecretStr(secret_key)}
    return ObjectStore(Services.model_construct(s3_url=url, s3_bucket="none", **login))


def store_of(services: Services) -> ObjectStore:
    """Looks at what is there; its client is made once."""
    keys = services.s3_access_key.get_secret_value(), services.s3_secret_key.get_secret_value()
    return store_at(services.s3_url, *keys).at(services.s3_bucket)


def assert_obtained(dataset: Dataset, content: bytes, home: Settings, bucket: Services, tmp_path: Path) -> None:
    digest = sha256_of(content)
    assert dataset.sha256 == digest
    assert dataset.key == f"data/{digest}.csv"
    assert dataset.rows == content.count(b"\n") - 1
    assert (home.home / "data" / f"{digest}.csv").read_bytes() == content
    store_of(bucket).get(dataset.key, tmp_path / "shared.csv")
    assert (tmp_path / "shared.csv").read_bytes() == content


@pytest.fixture
def closed_url() -> str:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


# Where data comes from


def test_a_csv_file(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    dataset = get(home, bucket, tmp_path / "stays.csv")
    assert_obtained(dataset, example_csv(), home, bucket, tmp_path)
    assert (dataset.source, dataset.kind, dataset.fallback) == ("file:stays.csv", "real", "")
    assert not dataset.published


def test_the_source_of_the_settings(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    assert get(home, bucket, None, data=str(tmp_path / "stays.csv")).source == "file:stays.csv"


def test_relative_and_home_paths(
    home: Settings, bucket: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get(home, bucket, "stays.csv") == get(home, bucket, "~/stays.csv") == get(home, bucket, "./stays.csv")


@pytest.mark.parametrize(
    "members",
    [
        [("diabetic_data.csv", example_csv())],
        [("dataset_diabetes/diabetic_data.csv", example_csv()), ("dataset_diabetes/IDs_mapping.csv", b"a,b\n")],
        [("readme.txt", b"hello"), ("only/Stays.CSV", example_csv())],
        [("x.csv", example_csv()), ("__MACOSX/x.csv", b"shadow")],
    ],
)
def test_a_zip_file(home: Settings, bucket: Services, tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    dataset = get(home, bucket, zip_of(tmp_path / "data.zip", *members))
    assert_obtained(dataset, example_csv(), home, bucket, tmp_path)
    assert dataset.source == "file:data.zip"


def test_an_address_of_a_csv(home: Settings, bucket: Services, site: Site, tmp_path: Path) -> None:
    url = site.serve("/a/stays.csv", example_csv())
    dataset = get(home, bucket, url)
    assert_obtained(dataset, example_csv(), home, bucket, tmp_path)
    assert dataset.source == f"url:{url}"


def test_an_address_of_a_zip(home: Settings, bucket: Services, site: Site, tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "x.zip", ("diabetic_data.csv", example_csv())).read_bytes()
    dataset = get(home, bucket, site.serve("/download", packed))
    assert_obtained(dataset, example_csv(), home, bucket, tmp_path)


def test_an_answer_compressed_on_its_way(home: Settings, bucket: Services, site: Site, tmp_path: Path) -> None:
    url = site.serve("/stays.csv", gzip.compress(example_csv()), Content_Encoding="gzip")
    assert_obtained(get(home, bucket, url), example_csv(), home, bucket, tmp_path)


def test_login_and_query_are_used_but_shown_nowhere(home: Settings, bucket: Services, site: Site) -> None:
    url = site.serve("/stays.csv", example_csv()).replace("http://", f"http://me:{HIDDEN}@") + f"?token={HIDDEN}"
    dataset = get(home, bucket, url)
    assert dataset.source == f"url:{site.url}/stays.csv"
    assert site.asked == [f"/stays.csv?token={HIDDEN}"]
    assert site.logins[0] is not None
    assert HIDDEN not in (home.home / "data" / "index.json").read_text()


def test_queries_are_different_sources(home: Settings, bucket: Services, site: Site) -> None:
    url = site.serve("/stays.csv", example_csv(1))
    first = get(home, bucket, url + "?year=1")
    site.serve("/stays.csv", example_csv(100))
    second = get(home, bucket, url + "?year=2")
    assert first.sha256 != second.sha256
    assert first.source == second.source


def test_google_drive(home: Settings, bucket: Services, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources.GDRIVE_URL.startswith("https://drive.usercontent.google.com/download?id={}&")
    monkeypatch.setattr(sources, "GDRIVE_URL", site.serve("/download", example_csv()) + "?id={}&confirm=t")
    dataset = get(home, bucket, "gdrive://a1_B-2")
    assert dataset.source == "gdrive:a1_B-2"
    assert site.asked == ["/download?id=a1_B-2&confirm=t"]


def test_another_bucket(home: Settings, bucket: Services, services: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    store_of(services).at("hospital").put(tmp_path / "stays.csv", "2008/stays.csv")
    dataset = get(home, bucket, "s3://hospital/2008/stays.csv")
    assert_obtained(dataset, example_csv(), home, bucket, tmp_path)
    assert dataset.source == "s3://hospital/2008/stays.csv"


def test_a_changed_object_is_fetched_again(
    home: Settings, bucket: Services, services: Services, tmp_path: Path
) -> None:
    rows = []
    for count in (3, 4):
        (tmp_path / "stays.csv").write_bytes(example_csv(rows=count))
        store_of(services).at("hospital").put(tmp_path / "stays.csv", "changing.csv")
        rows += [get(home, bucket, "s3://hospital/changing.csv").rows for _ in range(2)]
    assert rows == [3, 3, 4, 4]


def test_synthetic_rows(home: Settings, bucket: Services, tmp_path: Path) -> None:
    dataset = get(home, bucket, "synthetic:500")
    assert (dataset.source, dataset.kind, dataset.rows) == ("synthetic:500", "synthetic", 500)
    assert_obtained(dataset, open_dataset(home, bucket, dataset).read_bytes(), home, bucket, tmp_path)


def test_the_published_file(home: Settings, bucket: Services, real_csv: Path) -> None:
    dataset = get(home, bucket, real_csv)
    assert dataset.published
    assert dataset.rows == 101_766
    assert open_dataset(home, bucket, dataset).read_bytes() == real_csv.read_bytes()


# What is not done twice


def test_an_address_is_asked_once(home: Settings, bucket: Services, site: Site) -> None:
    url = site.serve("/stays.csv", example_csv())
    assert get(home, bucket, url) == get(home, bucket, url)
    assert site.asked == ["/stays.csv"]


def test_synthetic_rows_are_drawn_once(home: Settings, bucket: Services) -> None:
    told: list[str] = []
    for _ in range(2):
        acquire(home, bucket, "synthetic:50", lambda what, *_: told.append(what))
    assert told.count("generate") == 1


def test_an_unchanged_path_is_not_read_again(home: Settings, bucket: Services, tmp_path: Path) -> None:
    path = tmp_path / "stays.csv"
    path.write_bytes(example_csv(rows=3))
    first = get(home, bucket, path)
    before = path.stat()
    path.write_bytes(example_csv(first_id=2, rows=3))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert get(home, bucket, path) == first
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert get(home, bucket, path).sha256 == sha256_of(example_csv(first_id=2))


def test_a_touched_path_is_not_verified_again(
    home: Settings, bucket: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stays.csv"
    path.write_bytes(example_csv())
    first = get(home, bucket, path)
    os.utime(path, ns=(0, 0))
    monkeypatch.setattr(acquire_module, "verify", None)
    assert get(home, bucket, path) == first


def test_a_damaged_cache_is_mended(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    dataset = get(home, bucket, tmp_path / "stays.csv")
    copy = open_dataset(home, bucket, dataset)
    copy.write_bytes(copy.read_bytes()[:-5])
    assert Cache(home.home).path(dataset.sha256) is None
    assert get(home, bucket, tmp_path / "stays.csv") == dataset
    assert copy.read_bytes() == example_csv()


@pytest.mark.parametrize("content", ["", "{", '{"sources": {"x": 1}}', "[]"])
def test_a_damaged_index_is_started_anew(home: Settings, bucket: Services, tmp_path: Path, content: str) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    first = get(home, bucket, tmp_path / "stays.csv")
    (home.home / "data" / "index.json").write_text(content)
    assert get(home, bucket, tmp_path / "stays.csv") == first
    assert list(json.loads((home.home / "data" / "index.json").read_text())["sources"]) == [
        f"file:{tmp_path}/stays.csv"
    ]


def test_s3_gets_a_file_back_that_it_lost(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    dataset = get(home, bucket, tmp_path / "stays.csv")
    store = store_of(bucket)
    store._client.delete_object(Bucket=store.bucket, Key=dataset.key)
    assert_obtained(get(home, bucket, tmp_path / "stays.csv"), example_csv(), home, bucket, tmp_path)


def test_what_s3_has_is_not_uploaded_again(home: Settings, bucket: Services, tmp_path: Path) -> None:
    told: list[str] = []
    for name in ("one.csv", "same.csv"):
        (tmp_path / name).write_bytes(example_csv())
        acquire(home, bucket, str(tmp_path / name), lambda what, *_: told.append(what))
    assert told.count("upload") == 1


# Bad input


BAD_CONTENTS = {
    "empty": (b"", "the file is empty"),
    "header only": (example_csv(rows=0), "the file has a header but no rows"),
    "ragged": (example_csv() + f"4,5,{PRIVATE}\r\n".encode(), "line 5: found 3 fields, expected 50"),
    "encoding": (example_csv().replace(b"Female", b"Fem\xe9le"), "line 2, column gender: not UTF-8 text"),
    "label": (
        example_csv().replace(b"Yes,NO", f"Yes,{PRIVATE}".encode()).replace(b"No,NO", PRIVATE.encode()),
        "line 2",
    ),
    "number": (example_csv().replace(b",41,", f",{PRIVATE},".encode()), "line 2, column num_lab_procedures: must be a"),
    "column": (example_csv().replace(b",weight,", b","), "line 1: missing column weight"),
    "repeat": (example_csv() + example_csv().splitlines(keepends=True)[1], "lines 2 and 5, column encounter_id"),
    "quote": (example_csv().replace(b"Female", b'"Female"'), "line 2, column gender: a double quote"),
}


@pytest.mark.parametrize("what", BAD_CONTENTS)
@pytest.mark.parametrize("way", ["file", "zip", "url"])
def test_bad_content_reaches_neither_cache_nor_s3(
    home: Settings, bucket: Services, site: Site, tmp_path: Path, what: str, way: str
) -> None:
    content, expected = BAD_CONTENTS[what]
    (tmp_path / "good.csv").write_bytes(example_csv())
    get(home, bucket, tmp_path / "good.csv")
    (tmp_path / "bad.csv").write_bytes(content)
    packed = zip_of(tmp_path / "bad.zip", ("bad.csv", content))
    source = {"file": tmp_path / "bad.csv", "zip": packed, "url": site.serve("/bad.csv", content)}[way]
    name = {"file": "bad.csv", "zip": "bad.zip", "url": f"url:{source}"}[way]
    message = refusal(home, bucket, source)
    assert message.startswith((f"{name}: {expected}", f"{name}, {expected}"))


def test_the_expected_digest(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    found = sha256_of(example_csv())
    message = refusal(home, bucket, tmp_path / "stays.csv", data_sha256=UNKNOWN_DIGEST)
    assert message == f"stays.csv: the CSV has SHA-256 {found}, expected {UNKNOWN_DIGEST}"
    assert get(home, bucket, tmp_path / "stays.csv", data_sha256=found).sha256 == found
    refusal(home, bucket, tmp_path / "stays.csv", data_sha256=UNKNOWN_DIGEST)


def test_the_expected_digest_makes_a_cached_address_be_asked_again(
    home: Settings, bucket: Services, site: Site
) -> None:
    url = site.serve("/stays.csv", example_csv(1))
    get(home, bucket, url)
    site.serve("/stays.csv", example_csv(100))
    newer = sha256_of(example_csv(100))
    assert get(home, bucket, url, data_sha256=newer).sha256 == newer


def test_no_such_path(home: Settings, bucket: Services, tmp_path: Path) -> None:
    message = refusal(home, bucket, tmp_path / "none.csv")
    assert message == f"{tmp_path}/none.csv: no such file; check the path or READMISSION_DATA"
    assert not home.home.exists()


def test_a_folder(home: Settings, bucket: Services, tmp_path: Path) -> None:
    assert refusal(home, bucket, tmp_path) == f"{tmp_path}: this is a folder; give a CSV or zip file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The data source is empty; give "),
        ("ftp://host/x", "Data source ftp://... is not known; give a path, http(s)://"),
        (f"http://{HIDDEN}:x@/", "The data source is not a valid URL"),
        (f"http://host:{HIDDEN}/", "The data source is not a valid URL"),
        ("https://[::1/x", "The data source is not a valid URL"),
        ("gdrive://", "Data source gdrive://FILE_ID takes"),
        ("gdrive://a&b=c", "Data source gdrive://FILE_ID takes"),
        ("s3://bucket", "Data source s3://bucket/key needs both"),
        ("s3:///key", "Data source s3://bucket/key needs both"),
        ("synthetic:", "Data source synthetic:ROWS takes a number of rows from 1 to"),
        ("synthetic:0", "Data source synthetic:ROWS takes"),
        ("synthetic:-5", "Data source synthetic:ROWS takes"),
        ("synthetic:1e3", "Data source synthetic:ROWS takes"),
        ("synthetic:100000001", "Data source synthetic:ROWS takes"),
        ("~nobody-of-that-name/x.csv", "~nobody-of-that-name/x.csv: no such home folder"),
    ],
)
def test_a_source_that_is_none(text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_source(text)
    assert str(caught.value).startswith(message)
    assert HIDDEN not in str(caught.value)


def test_an_object_that_is_not_there(home: Settings, bucket: Services) -> None:
    message = refusal(home, bucket, "s3://no-such-bucket/x.csv")
    assert message == f"s3://no-such-bucket/x.csv: no such object at {bucket.s3_url}"


def damaged(path: Path, start: int, end: int, by: bytes = b"") -> Path:
    content = path.read_bytes()
    path.write_bytes(content[:start] + by + content[end:])
    return path


@pytest.mark.parametrize("keep", [3, 40, 400, -30])
def test_an_incomplete_zip(home: Settings, bucket: Services, tmp_path: Path, keep: int) -> None:
    path = zip_of(tmp_path / "data.zip", ("diabetic_data.csv", example_csv()))
    path.write_bytes(path.read_bytes()[:keep])
    assert refusal(home, bucket, path) == "data.zip: the zip file is damaged or incomplete; get it again"


def test_a_zip_with_other_content_than_its_checksum(home: Settings, bucket: Services, tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("diabetic_data.csv", example_csv())
    path.write_bytes(path.read_bytes().replace(b"Caucasian", b"Caucasiam"))
    assert "damaged or incomplete" in refusal(home, bucket, path)


def test_a_zip_with_broken_compression(home: Settings, bucket: Services, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "data.zip", ("diabetic_data.csv", example_csv(rows=500)))
    damaged(path, 200, 260, b"\xff" * 60)
    assert "damaged or incomplete" in refusal(home, bucket, path)


@pytest.mark.parametrize(
    ("members", "count"),
    [
        ([("readme.txt", b"x")], 0),
        ([("a.csv", b"x"), ("b.csv", b"x")], 2),
        ([("a/diabetic_data.csv", b"x"), ("b/diabetic_data.csv", b"x"), ("c.csv", b"x")], 3),
    ],
)
def test_a_zip_without_one_clear_csv(
    home: Settings, bucket: Services, tmp_path: Path, members: list[tuple[str, bytes]], count: int
) -> None:
    message = refusal(home, bucket, zip_of(tmp_path / "data.zip", *members))
    assert message == f"data.zip: holds {count} CSV files; expected one, or one called diabetic_data.csv"


def test_a_zip_bomb(home: Settings, bucket: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_CSV_BYTES", 3 << 20)
    path = zip_of(tmp_path / "data.zip", ("diabetic_data.csv", b"0" * (5 << 20)))
    assert refusal(home, bucket, path) == "data.zip: diabetic_data.csv would unpack to more than 3 MiB"


def test_a_zip_that_understates_its_size(
    home: Settings, bucket: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_CSV_BYTES", 3 << 20)
    path = zip_of(tmp_path / "data.zip", ("diabetic_data.csv", b"0" * (5 << 20)))
    path.write_bytes(path.read_bytes().replace((5 << 20).to_bytes(4, "little"), (1 << 10).to_bytes(4, "little")))
    assert "damaged or incomplete" in refusal(home, bucket, path)


def test_an_encrypted_zip(home: Settings, bucket: Services, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "data.zip", ("diabetic_data.csv", example_csv()))
    flags = path.read_bytes().index(b"PK\x01\x02") + 8
    damaged(path, flags, flags + 1, b"\x01")
    message = refusal(home, bucket, path)
    assert message == "data.zip: diabetic_data.csv is encrypted; give an archive without a password"


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (404, BadInputError, "the server answers 404 Not Found; check the address and that the file is public"),
        (403, BadInputError, "the server answers 403 Forbidden; check the address and that the file is public"),
        (500, ServiceDownError, "the server answers 500 Internal Server Error; try again later"),
        (429, ServiceDownError, "the server answers 429 Too Many Requests; try again later"),
        (499, BadInputError, "the server answers 499; check"),
    ],
)
def test_an_address_that_is_refused(
    home: Settings, bucket: Services, site: Site, status: int, kind: type[ReadmissionError], words: str
) -> None:
    url = site.serve("/stays.csv", b"<html>", status)
    assert refusal(home, bucket, f"{url}?key={HIDDEN}", kind).startswith(f"url:{url}: {words}")


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Sign in</title>", b"\n  <html></html>", b"<?xml?><Error/>"])
def test_a_web_page_in_place_of_data(home: Settings, bucket: Services, site: Site, page: bytes) -> None:
    url = site.serve("/stays.csv", page)
    message = refusal(home, bucket, url)
    assert message.startswith(f"url:{url}: this is a web page, not a CSV or zip file")


def test_a_download_that_breaks_off(home: Settings, bucket: Services, site: Site, tmp_path: Path) -> None:
    url = site.serve("/stays.csv", example_csv(), length=len(example_csv()) + 1000)
    message = refusal(home, bucket, url, ServiceDownError)
    assert message.startswith(f"url:{url}: download from 127.0.0.1 failed (it broke off); ")
    site.serve("/stays.csv", example_csv())
    assert_obtained(get(home, bucket, url), example_csv(), home, bucket, tmp_path)


def test_a_server_that_falls_silent(
    home: Settings, bucket: Services, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "READ_SECONDS", 0.2)
    done = threading.Event()
    site.answers["/stays.csv"] = lambda request: done.wait(10) and None
    message = refusal(home, bucket, f"{site.url}/stays.csv", ServiceDownError)
    done.set()
    assert "download from 127.0.0.1 failed (nothing more came for 0.2 seconds); try again later" in message


def test_redirects_without_end(home: Settings, bucket: Services, site: Site) -> None:
    url = site.serve("/stays.csv", b"", 302, Location="/stays.csv")
    assert "failed (it redirects without end)" in refusal(home, bucket, url, ServiceDownError)


def test_a_redirect_to_something_else_than_a_web_address(home: Settings, bucket: Services, site: Site) -> None:
    url = site.serve("/stays.csv", b"", 302, Location="ftp://host/x")
    assert refusal(home, bucket, url) == f"url:{url}: not a valid address"


def test_hosts_that_do_not_answer(home: Settings, bucket: Services, closed_url: str) -> None:
    message = refusal(home, bucket, f"{closed_url}/x.csv?key={HIDDEN}", ServiceDownError)
    assert message.startswith(f"url:{closed_url}/x.csv: download from 127.0.0.1 failed (no connection); try again")
    message = refusal(home, bucket, "https://no-such-host.invalid/x.csv", ServiceDownError)
    assert "download from no-such-host.invalid failed (no such host)" in message


def test_s3_that_does_not_answer(home: Settings, bucket: Services, closed_url: str, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    down = bucket.model_copy(update={"s3_url": closed_url})
    with pytest.raises(ServiceDownError, match=f"S3 at {closed_url} does not answer"):
        get(home, down, tmp_path / "stays.csv")


# Other hosts


def test_another_host_gets_the_file_from_s3(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    dataset = get(home, bucket, tmp_path / "stays.csv")
    other = Settings(home=tmp_path / "other")
    path = open_dataset(other, bucket, dataset)
    assert path.read_bytes() == example_csv()
    assert path.is_relative_to(other.home)
    store_of(bucket)._client.delete_object(Bucket=bucket.s3_bucket, Key=dataset.key)
    assert open_dataset(other, bucket, dataset) == path


def test_another_host_refuses_other_content(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    dataset = get(home, bucket, tmp_path / "stays.csv")
    (tmp_path / "other.csv").write_bytes(example_csv(100))
    store_of(bucket).put(tmp_path / "other.csv", dataset.key)
    other = Settings(home=tmp_path / "other")
    with pytest.raises(BadInputError) as caught:
        open_dataset(other, bucket, dataset)
    assert f"{dataset.key} at {bucket.s3_url} has SHA-256 {sha256_of(example_csv(100))}; delete it" in str(caught.value)
    assert cached(other) == {}


def test_a_dataset_that_s3_does_not_have(home: Settings, bucket: Services) -> None:
    dataset = Dataset(source="file:x.csv", kind="real", sha256=UNKNOWN_DIGEST, rows=1, key=f"data/{UNKNOWN_DIGEST}.csv")
    with pytest.raises(BadInputError, match=f"{dataset.key}: no such object"):
        open_dataset(home, bucket, dataset)


# The default source


@pytest.fixture
def default_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Stands in for UCI's archive; its file has the digest of ``example_csv()``."""
    assert sources.DEFAULT_URL.startswith("https://archive.ics.uci.edu/static/public/296/")
    monkeypatch.setattr(sources, "DEFAULT_URL", f"{site.url}/296.zip")
    monkeypatch.setattr(acquire_module, "CSV_SHA256", sha256_of(example_csv()))
    monkeypatch.setattr(acquire_module, "STAND_IN", "synthetic:300")
    return site


def serve_default(site: Site, tmp_path: Path, content: bytes) -> None:
    packed = zip_of(tmp_path / "296.zip", ("a/diabetic_data.csv", content), ("a/IDs_mapping.csv", b"x"))
    site.serve("/296.zip", packed.read_bytes())


def test_the_default_source(home: Settings, bucket: Services, default_site: Site, tmp_path: Path) -> None:
    serve_default(default_site, tmp_path, example_csv())
    dataset = acquire_or_synthetic(home, bucket, silent)
    assert_obtained(dataset, example_csv(), home, bucket, tmp_path)
    assert (dataset.source, dataset.kind, dataset.fallback) == ("uci:296", "real", "")
    default_site.answers.clear()
    assert acquire_or_synthetic(home, bucket, silent) == dataset == get(home, bucket)
    assert default_site.asked == ["/296.zip"]


def test_the_default_source_with_other_content(
    home: Settings, bucket: Services, default_site: Site, tmp_path: Path
) -> None:
    serve_default(default_site, tmp_path, example_csv(100))
    found, expected = sha256_of(example_csv(100)), sha256_of(example_csv())
    assert refusal(home, bucket, None) == f"uci:296: the CSV has SHA-256 {found}, expected {expected}"
    with pytest.raises(BadInputError, match=found):
        acquire_or_synthetic(home, bucket, silent)


@pytest.mark.parametrize(("content", "status"), [(b"x", 404), (b"x", 503), (b"<html>", 200)])
def test_synthetic_records_stand_in(
    home: Settings, bucket: Services, default_site: Site, content: bytes, status: int
) -> None:
    default_site.serve("/296.zip", content, status)
    dataset = acquire_or_synthetic(home, bucket, silent)
    assert (dataset.source, dataset.kind, dataset.rows) == ("synthetic:300", "synthetic", 300)
    assert dataset.fallback.startswith("uci:296: ")
    assert "\n" not in dataset.fallback
    assert stored(bucket) == {dataset.key}
    assert get(home, bucket, "synthetic:300").fallback == ""


def test_nothing_stands_in_where_the_default_is_asked_for_by_itself(
    home: Settings, bucket: Services, default_site: Site
) -> None:
    default_site.serve("/296.zip", b"", 404)
    refusal(home, bucket, None, ServiceDownError)


def test_nothing_stands_in_for_a_source_that_was_given(home: Settings, bucket: Services, closed_url: str) -> None:
    given = home.model_copy(update={"data": f"{closed_url}/x.csv"})
    with pytest.raises(ServiceDownError, match=r"failed \(no connection\)"):
        acquire_or_synthetic(given, bucket, silent)
    assert stored(bucket) == set()


def test_nothing_stands_in_for_a_digest_that_was_given(home: Settings, bucket: Services, default_site: Site) -> None:
    default_site.serve("/296.zip", b"", 404)
    with pytest.raises(ServiceDownError, match=r"uci:296: the server answers 404"):
        acquire_or_synthetic(home.model_copy(update={"data_sha256": CSV_SHA256}), bucket, silent)


def test_nothing_stands_in_where_s3_is_down(
    home: Settings, bucket: Services, default_site: Site, closed_url: str
) -> None:
    default_site.serve("/296.zip", b"", 404)
    with pytest.raises(ServiceDownError, match=f"S3 at {closed_url} does not answer"):
        acquire_or_synthetic(home, bucket.model_copy(update={"s3_url": closed_url}), silent)
    assert cached(home) == {}


def test_the_default_source_is_taken_from_s3_where_that_has_it(
    home: Settings, bucket: Services, default_site: Site, tmp_path: Path
) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    get(home, bucket, tmp_path / "stays.csv")
    dataset = acquire_or_synthetic(Settings(home=tmp_path / "other"), bucket, silent)
    assert (dataset.source, dataset.rows, dataset.fallback) == ("uci:296", 3, "")
    assert default_site.asked == []


# Progress


def test_every_step_tells_how_far_it_is(home: Settings, bucket: Services, site: Site, tmp_path: Path) -> None:
    content = example_csv(rows=20_000)
    packed = zip_of(tmp_path / "x.zip", ("x.csv", content)).read_bytes()
    told: list[tuple[str, int, int]] = []
    acquire(home, bucket, site.serve("/x.zip", packed), lambda *step: told.append(step))
    last = {what: (done, total) for what, done, total in told}
    assert last == {
        "download": (len(packed), len(packed)),
        "unpack": (len(content), len(content)),
        "verify": (20_000, 0),
        "upload": (len(content), len(content)),
    }
    assert list(last) == ["download", "unpack", "verify", "upload"]
