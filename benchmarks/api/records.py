"""Records from the real file."""

import csv
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.api.servers import Record
from readmission.schema import BY_NAME, RECORD_COLUMNS, Kind

_SEED = 20_080_101


def draw_records(path: Path, count: int) -> list[Record]:
    """Draw distinct records in the documented format: text as in the file, numbers as numbers."""
    different = list(dict.fromkeys(tuple(row[column.name] for column in RECORD_COLUMNS) for row in _rows(path)))
    chosen = random.Random(_SEED).sample(different, count)
    return [_typed(values) for values in chosen]


def first_records(path: Path, count: int) -> list[Record]:
    """The first records of the file."""
    return [_typed(tuple(row[column.name] for column in RECORD_COLUMNS)) for row in islice(_rows(path), count)]


def first_lines(path: Path, count: int) -> bytes:
    """The header and the first records of the file, as they are."""
    with path.open("rb") as file:
        return b"".join(islice(file, count + 1))


def diagnoses(path: Path) -> set[str]:
    """All codes that the file holds."""
    names = [column.name for column in RECORD_COLUMNS if column.kind is Kind.DIAGNOSIS]
    return {row[name] for row in _rows(path) for name in names}


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _typed(values: tuple[str, ...]) -> Record:
    named = zip(RECORD_COLUMNS, values, strict=True)
    return {column.name: int(value) if BY_NAME[column.name].is_number else value for column, value in named}
