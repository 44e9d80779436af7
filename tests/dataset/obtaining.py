"""What the tests of obtaining data share."""

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from readmission.dataset.acquire import acquire
from readmission.dataset.objects import ObjectStore
from readmission.dataset.source_file import Dataset, silent
from readmission.errors import BadInputError, ReadmissionError
from readmission.schema import COLUMNS
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
    store = ObjectStore(bucket)
    if not any(known["Name"] == store.bucket for known in store._client.list_buckets()["Buckets"]):
        return set()
    return {item["Key"] for item in store._client.list_objects_v2(Bucket=store.bucket).get("Contents", [])}


def assert_obtained(dataset: Dataset, content: bytes, home: Settings, bucket: Services, tmp_path: Path) -> None:
    digest = sha256_of(content)
    assert dataset.sha256 == digest
    assert dataset.key == f"data/{digest}.csv"
    assert dataset.rows == content.count(b"\n") - 1
    assert (home.home / "data" / f"{digest}.csv").read_bytes() == content
    ObjectStore(bucket).get(dataset.key, tmp_path / "shared.csv")
    assert (tmp_path / "shared.csv").read_bytes() == content
