"""Check a data file against the schema before anything uses it. Messages name line and column, never a value.

Works on whole blocks: columns with few distinct values are checked once per distinct value.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.dataset.csvfile import open_batches, read_header, text_lines
from readmission.errors import BadInputError
from readmission.schema import COLUMN_NAMES, COLUMNS, ENCOUNTER_ID, LABELS, MISSING, Column, Kind

FORBIDDEN = {
    b'"': "a double quote; fields must not be quoted and must hold no commas",
    b"\0": "a NUL byte; this is not a text file",
}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SCAN_BYTES = 1 << 22
FIRST_ROW = 2
"""The line of the first row: line 1 is the header."""

Ids = npt.NDArray[np.int64]


def verify(path: Path, name: str, report: Callable[[int], None] | None = None) -> int:
    """Check that a CSV holds the 50 columns of ``schema.COLUMNS``, in order, with allowed values in each.

    Categories and diagnoses may hold any text that is not empty: cleaning handles new values. Only the encounter
    numbers (8 bytes per row) stay in memory.

    Args:
        path: the CSV file, plain (no archive).
        name: of the file in messages.
        report: called after each block with the number of rows checked so far.

    Returns:
        number of rows.

    Raises:
        BadInputError: one line with the file, the line (the header is line 1) and the column: not a readable file,
            empty, not UTF-8, no rows, wrong columns, a wrong number of fields, a quote, an empty field, a number that
            is malformed or out of range, an unknown label, or a duplicate encounter.
    """
    _check_bytes(path, name)
    _check_header(read_header(path, name), name)
    encounters: list[Ids] = []
    rows = 0
    for batch in open_batches(path, name=name):
        encounters.append(_check_batch(batch, name, rows + FIRST_ROW))
        rows += batch.num_rows
        if report:
            report(rows)
    if not rows:
        raise BadInputError(f"{name}: the file has a header but no rows")
    _check_unique(np.concatenate(encounters), name)
    return rows


def _check_bytes(path: Path, name: str) -> None:
    if path.is_dir():
        raise BadInputError(f"{name}: this is a folder; give a CSV file")
    try:
        with path.open("rb") as file:
            if file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK:
                raise BadInputError(f"{name}, line 1: starts with a byte order mark; save as UTF-8 without it")
            file.seek(0)
            while block := file.read(SCAN_BYTES):
                _check_block(block, path, name)
    except OSError as error:
        raise BadInputError(f"{name}: cannot be read ({error.strerror})") from None


def _check_block(block: bytes, path: Path, name: str) -> None:
    for byte, meaning in FORBIDDEN.items():
        if byte in block:
            line, column = _locate(path, byte.decode())
            raise BadInputError(f"{name}, line {line}{column}: {meaning}")


def _locate(path: Path, character: str) -> tuple[int, str]:
    """Line number and ``, column NAME`` of the first occurrence."""
    line, text = next((line, text) for line, text in enumerate(text_lines(path), 1) if character in text)
    position = text[: text.index(character)].count(",")
    known = line > 1 and position < len(COLUMN_NAMES)
    return line, f", column {COLUMN_NAMES[position]}" if known else ""


def _check_header(header: tuple[str, ...], name: str) -> None:
    if header == COLUMN_NAMES:
        return
    missing = [column for column in COLUMN_NAMES if column not in header]
    if len(missing) > len(COLUMN_NAMES) // 2:
        # It may be a record, whose values must not be printed.
        raise BadInputError(f"{name}, line 1: not the header; expected {len(COLUMN_NAMES)} column names and commas")
    raise BadInputError(f"{name}, line 1: {_header_fault(header, missing)}")


def _header_fault(header: tuple[str, ...], missing: list[str]) -> str:
    extra = [column for column in header if column not in COLUMN_NAMES]
    if missing:
        unknown = f"; unknown: {_some(extra)}" if extra else ""
        return f"missing {_columns(missing)}{unknown}"
    if extra:
        return f"unknown column: {_some(extra)}; remove it"
    twice = [column for column in COLUMN_NAMES if header.count(column) > 1]
    if twice:
        return f"{_columns(twice)} given twice"
    index = next(index for index, pair in enumerate(zip(header, COLUMN_NAMES, strict=True)) if pair[0] != pair[1])
    return f"wrong order: column {index + 1} is {header[index]}, expected {COLUMN_NAMES[index]}"


def _columns(names: list[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {_some(names)}"


def _some(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(name[:40] if name.isprintable() and name else "(unnamed)" for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _check_batch(batch: pa.RecordBatch, name: str, first_line: int) -> Ids:
    """Check every column; return the encounter numbers."""
    identifiers: dict[str, Ids] = {}
    for column, values in zip(COLUMNS, batch.columns, strict=True):
        _check_filled(column, values, name, first_line)
        if column.kind is Kind.IDENTIFIER:
            identifiers[column.name] = _whole_numbers(column, values, name, first_line)
        elif column.is_number or column.kind is Kind.LABEL:
            _check_distinct(column, values, name, first_line)
    return identifiers[ENCOUNTER_ID]


def _check_filled(column: Column, values: pa.StringArray, name: str, first_line: int) -> None:
    lengths = pc.binary_length(values)
    if not pc.min(lengths).as_py():
        line = first_line + pc.index(lengths, pa.scalar(0, lengths.type)).as_py()
        rule = "" if column.kind is Kind.IDENTIFIER else f"; write {MISSING} where the value is missing"
        raise BadInputError(f"{name}, line {line}, column {column.name}: empty field{rule}")


def _whole_numbers(column: Column, values: pa.StringArray, name: str, first_line: int) -> Ids:
    try:
        # Arrow's cast would accept 0x1F.
        if pc.all(pc.ascii_is_decimal(values)).as_py():
            return np.asarray(values.cast(pa.int64()))
    except pa.ArrowInvalid:
        pass
    row = next(row for row, text in enumerate(values.to_pylist()) if not _is_possible(column, text))
    raise BadInputError(f"{name}, line {first_line + row}, column {column.name}: {_rule(column)}")


def _check_distinct(column: Column, values: pa.StringArray, name: str, first_line: int) -> None:
    encoded = values.dictionary_encode()
    wrong = [code for code, text in enumerate(encoded.dictionary.to_pylist()) if not _is_possible(column, text)]
    if wrong:
        row = int(np.isin(np.asarray(encoded.indices), wrong).argmax())
        raise BadInputError(f"{name}, line {first_line + row}, column {column.name}: {_rule(column)}")


def _is_possible(column: Column, text: str) -> bool:
    if column.kind is Kind.LABEL:
        return text in LABELS
    if text == MISSING:
        return column.kind is not Kind.IDENTIFIER
    # At most 19 digits, for that is what 64 bits hold.
    return re.fullmatch("[0-9]{1,19}", text) is not None and column.low <= int(text) <= column.high


def _rule(column: Column) -> str:
    if column.kind is Kind.LABEL:
        return f"unknown label; it must be one of {' '.join(LABELS)}"
    missing = "" if column.kind is Kind.IDENTIFIER else f" or {MISSING}"
    return f"must be a whole number from {column.low} to {column.high}{missing}"


def _check_unique(encounters: Ids, name: str) -> None:
    ordered = np.sort(encounters)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if repeated.size:
        rows = np.flatnonzero(np.isin(encounters, repeated))
        first: dict[int, int] = {}
        for row in rows.tolist():
            earlier = first.setdefault(int(encounters[row]), row)
            if earlier != row:
                lines = f"lines {earlier + FIRST_ROW} and {row + FIRST_ROW}"
                raise BadInputError(f"{name}, {lines}, column {ENCOUNTER_ID}: the same encounter twice; keep one")
