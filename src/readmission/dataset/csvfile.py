"""Read a CSV file as batches of text columns, unchanged; errors name the line and column.

A row is one line: quotes have no meaning here (``verify`` refuses them), so the fields joined with commas are the line.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from readmission.errors import BadInputError

BLOCK_BYTES = 1 << 20
"""Bytes per batch: the fastest of 256 KiB to 64 MiB on the published file."""

HEADER_BYTES = 1 << 16


def read_header(path: Path, name: str | None = None) -> tuple[str, ...]:
    """The column names: the fields of line 1.

    Args:
        path: a CSV file.
        name: of the file in messages; by default its own.

    Raises:
        BadInputError: the file cannot be read, is empty, is not UTF-8, or its first line is too long for a header.
    """
    return _names(_header_line(path, name or path.name))


def _header_line(path: Path, name: str) -> str:
    try:
        with path.open(encoding="latin-1") as file:
            line = file.readline(HEADER_BYTES)
    except OSError as error:
        raise BadInputError(f"{name}: cannot be read ({error.strerror})") from None
    if not line:
        raise BadInputError(f"{name}: the file is empty")
    if not _is_utf8(line):
        raise BadInputError(f"{name}, line 1: not UTF-8 text; save the file as CSV in UTF-8")
    if len(line) >= HEADER_BYTES:
        raise BadInputError(f"{name}, line 1: no line end in the first {HEADER_BYTES} bytes; this is not a CSV file")
    return line


def _names(header_line: str) -> tuple[str, ...]:
    return tuple(_utf8(header_line).decode("utf-8-sig").rstrip("\n").split(","))


def open_batches(path: Path, block_bytes: int = BLOCK_BYTES, name: str | None = None) -> Iterator[pa.RecordBatch]:
    """Stream the rows in file order; only a few blocks are in memory at a time.

    Args:
        path: a CSV file with a header and LF or CRLF line ends.
        block_bytes: approximate size of a batch; no line may be longer.
        name: of the file in messages; by default its own.

    Yields:
        Batches of string columns: ``None``, ``?`` and empty fields stay text. No batch is empty.

    Raises:
        BadInputError: as ``read_header``, or a row with too few or too many fields, or text that is not UTF-8.
    """
    name = name or path.name
    header_line = _header_line(path, name)
    if not header_line.endswith("\n"):
        return
    columns = _names(header_line)
    try:
        with _open(path, columns, block_bytes) as reader:
            yield from (batch for batch in reader if batch.num_rows)
    except pa.ArrowInvalid:
        # Arrow's message quotes the row, which must not be printed or logged.
        raise BadInputError(_explain(path, name, columns, block_bytes)) from None


def text_lines(path: Path) -> Iterator[str]:
    """The lines as Arrow splits them (LF, CRLF or CR), one character per byte, without line ends."""
    with path.open(encoding="latin-1") as file:
        for line in file:
            yield line.rstrip("\n")


def _open(path: Path, columns: tuple[str, ...], block_bytes: int) -> pacsv.CSVStreamingReader:
    return pacsv.open_csv(
        path,
        # With column names given and the header skipped, a file of only a header is not an error.
        read_options=pacsv.ReadOptions(block_size=block_bytes, column_names=columns, skip_rows=1),
        parse_options=pacsv.ParseOptions(quote_char=False, escape_char=False, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), null_values=[], strings_can_be_null=False
        ),
    )


def _explain(path: Path, name: str, columns: tuple[str, ...], block_bytes: int) -> str:
    """Find the line that Arrow refused; slow, but done once per error."""
    for number, line in enumerate(text_lines(path), 1):
        fields = line.split(",")
        if len(fields) != len(columns):
            return f"{name}, line {number}: found {len(fields)} fields, expected {len(columns)}"
        if not _is_utf8(line):
            column = next(column for column, field in zip(columns, fields, strict=True) if not _is_utf8(field))
            return f"{name}, line {number}, column {column}: not UTF-8 text; save the file as CSV in UTF-8"
    return f"{name}: a line is longer than {block_bytes} bytes or cannot be read"


def _utf8(text: str) -> bytes:
    return text.encode("latin-1")


def _is_utf8(text: str) -> bool:
    try:
        _utf8(text).decode()
    except UnicodeDecodeError:
        return False
    return True
