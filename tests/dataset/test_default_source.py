from pathlib import Path

import pytest
from obtaining import Site, assert_obtained, cached, example_csv, get, refusal, sha256_of, stored, zip_of

from readmission.dataset import acquire as acquire_module
from readmission.dataset import sources
from readmission.dataset.acquire import acquire_or_synthetic
from readmission.dataset.source_file import silent
from readmission.errors import BadInputError, ServiceDownError
from readmission.schema import CSV_SHA256
from readmission.services import Services
from readmission.settings import Settings


@pytest.fixture
def default_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Stands in for UCI's archive; its file has the digest of ``example_csv()``."""
    assert sources.DEFAULT_URL.startswith("https://archive.ics.uci.edu/static/public/296/")
    monkeypatch.setattr(sources, "DEFAULT_URL", f"{site.url}/296.zip")
    monkeypatch.setattr(acquire_module, "CSV_SHA256", sha256_of(example_csv()))
    monkeypatch.setattr(acquire_module, "FALLBACK_SOURCE", "synthetic:300")
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
    with pytest.raises(ServiceDownError, match=r"failed \(no connection"):
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
