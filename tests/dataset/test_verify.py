from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.dataset.verify import verify
from readmission.errors import BadInputError
from readmission.schema import COLUMN_NAMES, COLUMNS, MAX_ID, Column, Kind

PRIVATE = "PRIVATE77"
MANY = 20_000
"""Rows of several blocks."""

Rows = list[list[str]]
NUMBERS = [column for column in COLUMNS if column.kind in (Kind.CODE, Kind.COUNT)]
IDENTIFIERS = [column for column in COLUMNS if column.kind is Kind.IDENTIFIER]


def example_rows(count: int) -> Rows:
    """Header and valid rows: row i is on line i + 1."""
    example = [column.example for column in COLUMNS]
    return [list(COLUMN_NAMES), *([str(1000 + number), *example[1:]] for number in range(count))]


def write(path: Path, rows: Rows, end: str = "\r\n") -> Path:
    path.write_bytes("".join(",".join(row) + end for row in rows).encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        verify(path, "stays.csv")
    message = str(caught.value)
    assert PRIVATE not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[[Rows], str]:
    return lambda rows: refusal(write(tmp_path / "stays.csv", rows))


@pytest.fixture
def refuse_bytes(tmp_path: Path) -> Callable[[bytes], str]:
    def write_and_verify(content: bytes) -> str:
        (tmp_path / "stays.csv").write_bytes(content)
        return refusal(tmp_path / "stays.csv")

    return write_and_verify


def with_field(rows: Rows, line: int, column: str, text: str) -> Rows:
    rows[line - 1][COLUMN_NAMES.index(column)] = text
    return rows


def test_the_published_file_is_good(real_csv: Path) -> None:
    told: list[int] = []
    assert verify(real_csv, "diabetic_data.csv", told.append) == 101_766
    assert told == sorted(set(told))
    assert told[-1] == 101_766


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("count", [1, 3, MANY])
def test_good_rows_are_counted(tmp_path: Path, count: int, end: str) -> None:
    assert verify(write(tmp_path / "good.csv", example_rows(count), end), "good.csv") == count


@pytest.mark.parametrize("kind", [Kind.CATEGORY, Kind.DIAGNOSIS])
def test_new_words_are_not_judged_here(tmp_path: Path, kind: Kind) -> None:
    rows = example_rows(2)
    for column in COLUMNS:
        if column.kind is kind:
            with_field(rows, 3, column.name, "brand new")
    assert verify(write(tmp_path / "good.csv", rows), "good.csv") == 2


@st.composite
def good_values(draw: st.DrawFn) -> list[str]:
    words = st.text(st.characters(codec="utf-8", exclude_characters=',"\r\n\0'), min_size=1, max_size=8)
    return [draw(_possible(column, words)) for column in COLUMNS]


def _possible(column: Column, words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    if column.kind is Kind.LABEL:
        return st.sampled_from(column.levels)
    if column.is_number:
        numbers = st.integers(column.low, column.high).map(str)
        return numbers if column.kind is Kind.IDENTIFIER else numbers | st.just("?")
    return words | st.sampled_from(["?", "None", *column.levels])


@settings(max_examples=25)
@given(rows=st.lists(good_values(), min_size=1, max_size=5, unique_by=lambda row: int(row[0])))
def test_whatever_the_schema_allows_is_good(tmp_path: Path, rows: Rows) -> None:
    assert verify(write(tmp_path / "any.csv", [list(COLUMN_NAMES), *rows]), "any.csv") == len(rows)


def test_an_empty_file(refuse_bytes: Callable[[bytes], str]) -> None:
    assert refuse_bytes(b"") == "stays.csv: the file is empty"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_header_without_rows(refuse_bytes: Callable[[bytes], str], end: bytes) -> None:
    assert refuse_bytes(",".join(COLUMN_NAMES).encode() + end) == "stays.csv: the file has a header but no rows"


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "stays.csv: this is a folder; give a CSV file"


def test_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "stays.csv: cannot be read (No such file or directory)"


def test_text_in_another_encoding(tmp_path: Path) -> None:
    rows = with_field(example_rows(MANY), 15_000, "diag_2", "LATIN")
    path = write(tmp_path / "stays.csv", rows)
    path.write_bytes(path.read_bytes().replace(b"LATIN", b"\xe9" + PRIVATE.encode()))
    assert refusal(path).startswith("stays.csv, line 15000, column diag_2: not UTF-8 text")


def test_a_spreadsheet_in_utf16(refuse_bytes: Callable[[bytes], str]) -> None:
    content = "".join(",".join(row) + "\n" for row in example_rows(2))
    assert refuse_bytes(b"\xff\xfe" + content.encode("utf-16-le")).startswith("stays.csv, line 1: ")


def test_a_byte_order_mark(refuse_bytes: Callable[[bytes], str]) -> None:
    content = "".join(",".join(row) + "\n" for row in example_rows(2))
    assert refuse_bytes(b"\xef\xbb\xbf" + content.encode()).startswith(
        "stays.csv, line 1: starts with a byte order mark"
    )


def without(rows: Rows, column: str) -> Rows:
    place = rows[0].index(column)
    return [row[:place] + row[place + 1 :] for row in rows]


def test_a_missing_column(refuse: Callable[[Rows], str]) -> None:
    assert refuse(without(example_rows(2), "weight")) == "stays.csv, line 1: missing column weight"


def test_missing_columns_are_all_named_up_to_five(refuse: Callable[[Rows], str]) -> None:
    rows = example_rows(2)
    for column in COLUMN_NAMES[:7]:
        rows = without(rows, column)
    named = ", ".join(COLUMN_NAMES[:5])
    assert refuse(rows) == f"stays.csv, line 1: missing columns {named} and 2 more"


def test_an_extra_column(refuse: Callable[[Rows], str]) -> None:
    rows = [[*row, PRIVATE] for row in example_rows(2)]
    rows[0][-1] = "ward"
    assert refuse(rows) == "stays.csv, line 1: unknown column: ward; remove it"


def test_a_misspelt_column(refuse: Callable[[Rows], str]) -> None:
    rows = with_field(example_rows(2), 1, "weight", "wieght")
    assert refuse(rows) == "stays.csv, line 1: missing column weight; unknown: wieght"


def test_columns_in_another_order(refuse: Callable[[Rows], str]) -> None:
    rows = example_rows(2)
    rows[0][2], rows[0][3] = rows[0][3], rows[0][2]
    assert refuse(rows) == "stays.csv, line 1: wrong order: column 3 is gender, expected race"


def test_a_column_given_twice(refuse: Callable[[Rows], str]) -> None:
    rows = [[*row, row[2]] for row in example_rows(2)]
    assert refuse(rows) == "stays.csv, line 1: column race given twice"


def test_a_header_that_is_a_record_is_not_printed(refuse: Callable[[Rows], str]) -> None:
    rows = with_field(example_rows(2), 2, "diag_1", PRIVATE)[1:]
    assert refuse(rows) == "stays.csv, line 1: not the header; expected 50 column names and commas"


def test_another_separator(refuse_bytes: Callable[[bytes], str]) -> None:
    content = "".join(";".join(row) + "\n" for row in example_rows(2))
    assert refuse_bytes(content.encode()) == "stays.csv, line 1: not the header; expected 50 column names and commas"


@pytest.mark.parametrize(("change", "found"), [(lambda row: row[:-1], 49), (lambda row: [*row, PRIVATE], 51)])
def test_a_ragged_row(refuse: Callable[[Rows], str], change: Callable[[list[str]], list[str]], found: int) -> None:
    rows = with_field(example_rows(MANY), 12_345, "diag_1", PRIVATE)
    rows[12_344] = change(rows[12_344])
    assert refuse(rows) == f"stays.csv, line 12345: found {found} fields, expected 50"


def test_an_empty_line(refuse_bytes: Callable[[bytes], str]) -> None:
    lines = [",".join(row) for row in example_rows(3)]
    lines.insert(2, "")
    message = refuse_bytes("".join(line + "\r\n" for line in lines).encode())
    assert message == "stays.csv, line 3, column encounter_id: empty field"


@pytest.mark.parametrize("text", [f'"{PRIVATE}"', f'{PRIVATE}"', f'"{PRIVATE}'])
def test_a_quote_would_not_come_back(refuse: Callable[[Rows], str], text: str) -> None:
    message = refuse(with_field(example_rows(MANY), 17_000, "medical_specialty", text))
    assert message.startswith("stays.csv, line 17000, column medical_specialty: a double quote; ")


def test_a_quoted_header(refuse: Callable[[Rows], str]) -> None:
    assert refuse(with_field(example_rows(1), 1, "race", '"race"')).startswith("stays.csv, line 1: a double quote; ")


def test_a_nul_byte(refuse: Callable[[Rows], str]) -> None:
    message = refuse(with_field(example_rows(9), 5, "diag_3", f"{PRIVATE}\0"))
    assert message == "stays.csv, line 5, column diag_3: a NUL byte; this is not a text file"


@pytest.mark.parametrize("column", [column.name for column in COLUMNS])
def test_an_empty_field(refuse: Callable[[Rows], str], column: str) -> None:
    message = refuse(with_field(example_rows(5), 4, column, ""))
    assert message.startswith(f"stays.csv, line 4, column {column}: empty field")


@pytest.mark.parametrize("column", NUMBERS, ids=lambda column: column.name)
def test_an_impossible_number(refuse: Callable[[Rows], str], column: Column) -> None:
    rule = f"must be a whole number from {column.low} to {column.high} or ?"
    for text in (
        str(column.high + 1),
        str(column.low - 1),
        PRIVATE,
        "1.5",
        "1e1",
        "+1",
        " 1",
        "1_0",
        "0x1",
        "None",
        "٣",
    ):
        message = refuse(with_field(example_rows(3), 3, column.name, text))
        assert message == f"stays.csv, line 3, column {column.name}: {rule}"


@pytest.mark.parametrize("column", NUMBERS, ids=lambda column: column.name)
def test_a_number_at_its_limits_or_missing(tmp_path: Path, column: Column) -> None:
    rows = example_rows(3)
    for line, text in enumerate((str(column.low), str(column.high), "?"), 2):
        with_field(rows, line, column.name, text)
    assert verify(write(tmp_path / "good.csv", rows), "good.csv") == 3


@pytest.mark.parametrize("text", ["?", PRIVATE, "-1", "1.0", "0x1F", " 5", "5 ", str(MAX_ID + 1), "9" * 30, "٣"])
@pytest.mark.parametrize("column", IDENTIFIERS, ids=lambda column: column.name)
def test_an_identifier_that_is_no_number(refuse: Callable[[Rows], str], column: Column, text: str) -> None:
    message = refuse(with_field(example_rows(MANY), 16_001, column.name, text))
    assert message == f"stays.csv, line 16001, column {column.name}: must be a whole number from 0 to {MAX_ID}"


def test_the_largest_identifier(tmp_path: Path) -> None:
    rows = with_field(example_rows(2), 2, "patient_nbr", str(MAX_ID))
    assert verify(write(tmp_path / "good.csv", rows), "good.csv") == 2


@pytest.mark.parametrize("text", [PRIVATE, "no", "?", "None", ">31", "NO "])
def test_an_unknown_label(refuse: Callable[[Rows], str], text: str) -> None:
    message = refuse(with_field(example_rows(MANY), 19_999, "readmitted", text))
    assert message == "stays.csv, line 19999, column readmitted: unknown label; it must be one of NO >30 <30"


@pytest.mark.parametrize(("first", "second"), [(2, 3), (7, 20_001), (9_000, 18_000)])
def test_an_encounter_that_occurs_twice(refuse: Callable[[Rows], str], first: int, second: int) -> None:
    rows = example_rows(MANY)
    rows[second - 1][0] = rows[first - 1][0]
    message = refuse(rows)
    assert message == f"stays.csv, lines {first} and {second}, column encounter_id: the same encounter twice; keep one"


def test_the_first_of_several_repeats_is_named(refuse: Callable[[Rows], str]) -> None:
    rows = example_rows(10)
    rows[9][0], rows[5][0] = rows[2][0], rows[4][0]
    assert "lines 5 and 6, column" in refuse(rows)


def test_leading_zeros_do_not_hide_a_repeat(refuse: Callable[[Rows], str]) -> None:
    rows = example_rows(3)
    rows[3][0] = "0" + rows[1][0]
    assert "lines 2 and 4, column encounter_id" in refuse(rows)
