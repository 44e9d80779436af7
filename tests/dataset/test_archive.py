import zipfile
from pathlib import Path

import pytest
from obtaining import example_csv, refusal, zip_of

from readmission.dataset import archive
from readmission.services import Services
from readmission.settings import Settings


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


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("start", [60, 80, 120, 200])
def test_a_zip_of_another_method_with_broken_compression(
    home: Settings, bucket: Services, tmp_path: Path, method: int, start: int
) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("diabetic_data.csv", example_csv(rows=500))
    damaged(path, start, start + 30, b"\xff" * 30)
    assert refusal(home, bucket, path) == "data.zip: the zip file is damaged or incomplete; get it again"


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


def test_a_zip_of_an_unknown_method(home: Settings, bucket: Services, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "data.zip", ("diabetic_data.csv", example_csv()))
    method = path.read_bytes().index(b"PK\x01\x02") + 10
    damaged(path, method, method + 1, b"\x63")
    damaged(path, 8, 9, b"\x63")
    message = refusal(home, bucket, path)
    assert message == "data.zip: compressed with a method that is not supported; use a plain zip file"
