import threading
from pathlib import Path

import pytest
from obtaining import HIDDEN, Site, assert_obtained, example_csv, get, refusal

from readmission.dataset import download
from readmission.errors import BadInputError, ReadmissionError, ServiceDownError
from readmission.services import Services
from readmission.settings import Settings


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
    assert message.startswith(f"url:{url}: download from 127.0.0.1 failed (the connection was closed early); ")
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
    assert "failed (it redirects too often)" in refusal(home, bucket, url, ServiceDownError)


def test_a_redirect_to_something_else_than_a_web_address(home: Settings, bucket: Services, site: Site) -> None:
    url = site.serve("/stays.csv", b"", 302, Location="ftp://host/x")
    assert refusal(home, bucket, url) == f"url:{url}: not a valid address"


def test_hosts_that_do_not_answer(home: Settings, bucket: Services, closed_url: str) -> None:
    message = refusal(home, bucket, f"{closed_url}/x.csv?key={HIDDEN}", ServiceDownError)
    assert message.startswith(
        f"url:{closed_url}/x.csv: download from 127.0.0.1 failed (no connection, or it was lost); try again"
    )
    message = refusal(home, bucket, "https://no-such-host.invalid/x.csv", ServiceDownError)
    assert "download from no-such-host.invalid failed (no such host)" in message
