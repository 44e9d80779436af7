"""A disk that is full while data is obtained: one line that names the folder, and nothing left in it.

The limit of a file's size stands in for the disk's: writing fails in the same place, with an error of the same kind.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from obtaining import Site, cached, example_csv, get, refusal, zip_of

from readmission.dataset.acquire import open_dataset
from readmission.errors import BadInputError
from readmission.services import Services
from readmission.settings import Settings

CONTENT = example_csv(rows=5_000)
ROOM = 1 << 18


@contextmanager
def little_room() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# pooch leaves the connection open when it cannot write.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("way", ["file", "zip", "url"])
def test_while_a_source_is_brought_here(home: Settings, bucket: Services, site: Site, tmp_path: Path, way: str) -> None:
    assert len(CONTENT) > 2 * ROOM
    (tmp_path / "stays.csv").write_bytes(CONTENT)
    packed = zip_of(tmp_path / "stays.zip", ("stays.csv", CONTENT))
    assert packed.stat().st_size < ROOM
    source = {"file": tmp_path / "stays.csv", "zip": packed, "url": site.serve("/stays.csv", CONTENT)}[way]
    get(home, bucket, "synthetic:5")
    with little_room():
        message = refusal(home, bucket, source)
    assert message == (
        f"Cannot use the folder {home.home}/data (File too large): free space there, or set READMISSION_HOME"
    )


def test_while_records_are_drawn(home: Settings, bucket: Services) -> None:
    get(home, bucket, "synthetic:5")
    with little_room():
        assert "File too large" in refusal(home, bucket, "synthetic:50000")


def test_while_another_host_fetches_from_s3(home: Settings, bucket: Services, tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_bytes(CONTENT)
    dataset = get(home, bucket, tmp_path / "stays.csv")
    other = Settings(home=tmp_path / "other")
    with little_room(), pytest.raises(BadInputError, match=r"^Cannot use the folder .*other/data \(File too large"):
        open_dataset(other, bucket, dataset)
    assert cached(other) == {}


def test_a_file_where_the_folder_should_be(home: Settings, bucket: Services) -> None:
    home.home.write_text("")
    with pytest.raises(BadInputError, match=r"^Cannot use the folder .*/data \(Not a directory\): "):
        get(home, bucket, "synthetic:5")
