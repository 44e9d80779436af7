import gzip
import json
import os
from pathlib import Path

import pytest
from obtaining import HIDDEN, UNKNOWN_DIGEST, Site, assert_obtained, cached, example_csv, get, sha256_of, zip_of

from readmission.dataset import acquire as acquire_module
from readmission.dataset import sources
from readmission.dataset.acquire import acquire, open_dataset
from readmission.dataset.cache import Cache
from readmission.dataset.objects import ObjectStore
from readmission.dataset.source_file import Dataset
from readmission.errors import BadInputError
from readmission.services import Services
from readmission.settings import Settings

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
    ObjectStore(services).at("hospital").put(tmp_path / "stays.csv", "2008/stays.csv")
    dataset = get(home, bucket, "s3://hospital/2008/stays.csv")
    assert_obtained(dataset, example_csv(), home, bucket, tmp_path)
    assert dataset.source == "s3://hospital/2008/stays.csv"


def test_a_changed_object_is_fetched_again(
    home: Settings, bucket: Services, services: Services, tmp_path: Path
) -> None:
    rows = []
    for count in (3, 4):
        (tmp_path / "stays.csv").write_bytes(example_csv(rows=count))
        ObjectStore(services).at("hospital").put(tmp_path / "stays.csv", "changing.csv")
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
    store = ObjectStore(bucket)
    store._client.delete_object(Bucket=store.bucket, Key=dataset.key)
    assert_obtained(get(home, bucket, tmp_path / "stays.csv"), example_csv(), home, bucket, tmp_path)


def test_what_s3_has_is_not_uploaded_again(home: Settings, bucket: Services, tmp_path: Path) -> None:
    told: list[str] = []
    for name in ("one.csv", "same.csv"):
        (tmp_path / name).write_bytes(example_csv())
        acquire(home, bucket, str(tmp_path / name), lambda what, *_: told.append(what))
    assert told.count("upload") == 1


# Other hosts


def test_another_host_gets_the_file_from_s3(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    dataset = get(home, bucket, tmp_path / "stays.csv")
    other = Settings(home=tmp_path / "other")
    path = open_dataset(other, bucket, dataset)
    assert path.read_bytes() == example_csv()
    assert path.is_relative_to(other.home)
    ObjectStore(bucket)._client.delete_object(Bucket=bucket.s3_bucket, Key=dataset.key)
    assert open_dataset(other, bucket, dataset) == path


def test_another_host_refuses_other_content(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(example_csv())
    dataset = get(home, bucket, tmp_path / "stays.csv")
    (tmp_path / "other.csv").write_bytes(example_csv(100))
    ObjectStore(bucket).put(tmp_path / "other.csv", dataset.key)
    other = Settings(home=tmp_path / "other")
    with pytest.raises(BadInputError) as caught:
        open_dataset(other, bucket, dataset)
    assert f"{dataset.key} at {bucket.s3_url} has SHA-256 {sha256_of(example_csv(100))}; delete it" in str(caught.value)
    assert cached(other) == {}


def test_a_dataset_that_s3_does_not_have(home: Settings, bucket: Services) -> None:
    dataset = Dataset(source="file:x.csv", kind="real", sha256=UNKNOWN_DIGEST, rows=1, key=f"data/{UNKNOWN_DIGEST}.csv")
    with pytest.raises(BadInputError, match=f"{dataset.key}: no such object"):
        open_dataset(home, bucket, dataset)


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
