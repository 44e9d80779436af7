import os
from pathlib import Path

import pytest
from obtaining import PRIVATE, UNKNOWN_DIGEST, Site, example_csv, get, refusal, sha256_of, zip_of

from readmission.errors import ServiceDownError
from readmission.services import Services
from readmission.settings import Settings

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


def test_a_file_that_cannot_be_read(home: Settings, bucket: Services) -> None:
    message = refusal(home, bucket, "/proc/self/mem")
    assert message == "/proc/self/mem: cannot be read (Input/output error)"


def test_a_path_that_cannot_be_looked_at(home: Settings, bucket: Services, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    assert refusal(home, bucket, path) == f"{path}: cannot be read (File name too long)"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_path_below_a_closed_folder(home: Settings, bucket: Services, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    assert refusal(home, bucket, closed / "x.csv") == f"{closed}/x.csv: cannot be read (Permission denied)"


def test_a_folder(home: Settings, bucket: Services, tmp_path: Path) -> None:
    assert refusal(home, bucket, tmp_path) == f"{tmp_path}: this is a folder; give a CSV or zip file"


def test_an_object_that_is_not_there(home: Settings, bucket: Services) -> None:
    message = refusal(home, bucket, "s3://no-such-bucket/x.csv")
    assert message == f"s3://no-such-bucket/x.csv: no such object at {bucket.s3_url}"


def test_s3_that_does_not_answer(home: Settings, bucket: Services, closed_url: str, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    down = bucket.model_copy(update={"s3_url": closed_url})
    with pytest.raises(ServiceDownError, match=f"S3 at {closed_url} does not answer"):
        get(home, down, tmp_path / "stays.csv")
