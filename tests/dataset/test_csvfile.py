import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.dataset.csvfile import BLOCK_BYTES, open_batches, read_header, text_lines
from readmission.errors import BadInputError
from readmission.schema import COLUMN_NAMES

SMALL_BLOCK = 1 << 12

fields = st.text(
    st.characters(exclude_characters=',"\r\n\0\ufeff', exclude_categories=["Cs"]), min_size=0, max_size=12
) | st.sampled_from(["None", "?", "NULL", "nan", "", "0x1F", "007", "1e5", "true", "2008-01-01", " "])


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(2, 6))
    row = st.lists(fields, min_size=width, max_size=width)
    names = draw(st.lists(fields.filter(bool), min_size=width, max_size=width, unique=True))
    return [names, *draw(st.lists(row, max_size=40))]


def write_csv(path: Path, rows: list[list[str]], end: str = "\r\n") -> Path:
    path.write_bytes("".join(",".join(row) + end for row in rows).encode())
    return path


def read_rows(path: Path, block_bytes: int = BLOCK_BYTES) -> list[list[str]]:
    batches = list(open_batches(path, block_bytes))
    return [
        list(row) for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


def refusal(path: Path, block_bytes: int = BLOCK_BYTES, name: str | None = None) -> str:
    with pytest.raises(BadInputError) as caught:
        list(open_batches(path, block_bytes, name))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


@given(table=tables(), end=st.sampled_from(["\n", "\r\n"]))
def test_any_table_comes_back_byte_for_byte(tmp_path: Path, table: list[list[str]], end: str) -> None:
    path = write_csv(tmp_path / "any.csv", table, end)
    again = write_csv(tmp_path / "again.csv", [list(read_header(path)), *read_rows(path)], end)
    assert again.read_bytes() == path.read_bytes()


@settings(max_examples=30)
@given(table=tables(), end=st.sampled_from(["\n", "\r\n"]), copies=st.integers(50, 200))
def test_rows_are_whole_and_in_order_whatever_the_block_cuts(
    tmp_path: Path, table: list[list[str]], end: str, copies: int
) -> None:
    rows = table[1:] * copies
    path = write_csv(tmp_path / "blocks.csv", [table[0], *rows], end)
    assert read_rows(path, SMALL_BLOCK) == rows


def test_words_for_missing_stay_text(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "words.csv", [["a", "b", "c", "d"], ["None", "?", "", "NA"]])
    (batch,) = open_batches(path)
    assert batch.schema.types == [pa.string()] * 4
    assert batch.to_pylist() == [{"a": "None", "b": "?", "c": "", "d": "NA"}]
    assert sum(column.null_count for column in batch.columns) == 0


def test_a_quote_is_a_character_like_any_other(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "quote.csv", [["a", "b"], ['"x', 'y"'], ["1", "2"]])
    assert read_rows(path) == [['"x', 'y"'], ["1", "2"]]


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"a,b\r\n"])
def test_a_header_alone_gives_no_batch(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "header.csv"
    path.write_bytes(content)
    assert list(open_batches(path)) == []


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_bytes(b"a,b\r\n1,2\r\n3,4")
    assert read_rows(path) == [["1", "2"], ["3", "4"]]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "marked.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    (batch,) = open_batches(path)
    assert batch.schema.names == ["a", "b"] == list(read_header(path))


@pytest.mark.parametrize(("row", "found"), [("PRIVATE,2", 2), ("PRIVATE", 1), ("PRIVATE,2,3,4", 4), (",,,,PRIVATE", 5)])
@pytest.mark.parametrize("block_bytes", [SMALL_BLOCK, BLOCK_BYTES])
def test_a_ragged_row_is_named_by_its_line_only(tmp_path: Path, row: str, found: int, block_bytes: int) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("a,b,c\n" + "1,2,3\n" * 3000 + row + "\n" + "1,2,3\n" * 3000)
    assert refusal(path, block_bytes) == f"ragged.csv, line 3002: found {found} fields, expected 3"


def test_text_that_is_not_utf8_is_named_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(b"a,b\r\n1,2\r\nPRIVATE,caf\xe9\r\n")
    message = refusal(path)
    assert message.startswith("latin.csv, line 3, column b: not UTF-8")
    assert "PRIVATE" not in message


def test_a_line_longer_than_a_block_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("a,b\n1,2\n" + "PRIVATE" * 5000 + ",2\n" + "1,2\n" * 5000)
    assert refusal(path, SMALL_BLOCK) == f"long.csv: a line is longer than {SMALL_BLOCK} bytes or cannot be read"


def test_messages_use_the_name_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1\n")
    assert refusal(path, name="uci:296").startswith("uci:296, line 2: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.csv: the file is empty"),
        (b"a,\xff\n1,2\n", "x.csv, line 1: not UTF-8 text; save the file as CSV in UTF-8"),
        (b"a" * (1 << 17), "x.csv, line 1: no line end in the first 65536 bytes; this is not a CSV file"),
    ],
)
def test_a_file_without_a_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    assert refusal(path) == message


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == "none.csv: cannot be read (No such file or directory)"
    assert refusal(tmp_path, name="folder") == "folder: cannot be read (Is a directory)"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_text("a,b\n" + f"{'x' * 60},{'y' * 60}\n" * 500_000)
    size = path.stat().st_size
    before = pa.total_allocated_bytes()
    peak = max(pa.total_allocated_bytes() for _ in open_batches(path, 1 << 16)) - before
    assert 0 < peak < size / 8


def test_nothing_of_the_file_is_kept_by_python(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", [["a", "b"], *[["1", "2"]] * 300_000])
    tracemalloc.start()
    rows = sum(batch.num_rows for batch in open_batches(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 300_000
    assert peak < path.stat().st_size / 2


def test_lines_are_split_as_arrow_splits_them(tmp_path: Path) -> None:
    path = tmp_path / "ends.csv"
    path.write_bytes(b"a,b\r\n1,\xc3\xa9\n3,4\r5,6")
    assert [line.encode("latin-1") for line in text_lines(path)] == [b"a,b", b"1,\xc3\xa9", b"3,4", b"5,6"]
    assert read_rows(path) == [["1", "é"], ["3", "4"], ["5", "6"]]


def test_the_published_file_comes_back_byte_for_byte(real_csv: Path) -> None:
    assert read_header(real_csv) == COLUMN_NAMES
    with real_csv.open("rb") as source:
        assert source.readline() == ",".join(COLUMN_NAMES).encode() + b"\r\n"
        for batch in open_batches(real_csv):
            columns = [column.to_pylist() for column in batch.columns]
            written = "".join(",".join(row) + "\r\n" for row in zip(*columns, strict=True)).encode()
            assert source.read(len(written)) == written
        assert source.read() == b""
