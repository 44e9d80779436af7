"""The data lines of a CSV file as Arrow text, to copy whole rows without parsing them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

BLOCK_BYTES = 16 << 20

_NO_DELIMITER = '"'
"""A delimiter that does not occur in a verified file, so that each line is one field."""


def open_lines(path: Path) -> Iterator[pa.Array]:
    """Stream the lines below the header.

    Args:
        path: a verified file; it has no quotes, so a line is a row.

    Yields:
        text arrays without line ends, in the order of the file.
    """
    reader = pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(column_names=["line"], skip_rows=1, block_size=BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(delimiter=_NO_DELIMITER, quote_char=False, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(column_types={"line": pa.string()}, strings_can_be_null=False),
    )
    for batch in reader:
        yield batch.column(0)
