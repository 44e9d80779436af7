from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.dataset import lines as lines_module
from readmission.dataset.lines import open_lines

HEADER = "encounter_id,race"

line_text = st.text(st.characters(exclude_characters='\r\n"\0', exclude_categories=("Cs",)), min_size=1, max_size=20)


def write(path: Path, rows: list[str], end: str = "\r\n", last_end: bool = True) -> Path:
    path.write_bytes((end.join([HEADER, *rows]) + (end if last_end else "")).encode())
    return path


def read(path: Path) -> list[str]:
    return [line for block in open_lines(path) for line in block.to_pylist()]


@settings(max_examples=40)
@given(st.lists(line_text, min_size=1, max_size=20), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines_come_back_as_they_are(tmp_path: Path, rows: list[str], end: str, last_end: bool) -> None:
    assert read(write(tmp_path / "stays.csv", rows, end, last_end)) == rows


@pytest.mark.parametrize(
    "line", ["a,b,c", "?", "None", ",", " a ", "'a','b'", "null", "[70-80)", "ß,٣,🙂", "a\tb", "\\.", "\\N"]
)
def test_nothing_in_a_line_is_looked_at(tmp_path: Path, line: str) -> None:
    assert read(write(tmp_path / "stays.csv", ["x", line, "y"])) == ["x", line, "y"]


def test_several_blocks_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 1 << 10)
    rows = [f"{number},{'x' * (number % 50)}" for number in range(2_000)]
    path = write(tmp_path / "stays.csv", rows)
    assert len(list(open_lines(path))) > 10
    assert read(path) == rows


def test_the_real_file_byte_for_byte(real_csv: Path) -> None:
    content = real_csv.read_bytes()
    header, _, rest = content.partition(b"\r\n")
    joined = "\r\n".join(read(real_csv)) + "\r\n"
    assert joined.encode() == rest
    assert header.count(b",") == 49
