"""Random raw records, from ordinary to odd, and their form as columns."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from hypothesis import strategies as st

from readmission.features.record import RawValue
from readmission.schema import MISSING, RECORD_COLUMNS, Column, Kind

Record = dict[str, RawValue]
Cell = tuple[str, RawValue]

MANY_CELLS = 10
"""Cells of a record that differ from its base; few, so that there is time for many records."""

ODD_TEXTS = (
    "", " ", "None", "NULL", "nan", "?", "??", "NO", "V", "E", ".", "-", "[-)", "[10-", "[20-10)", "[0-99999999999)",
    "٣", "²", "ß", "\n",
)  # fmt: skip

odd_text = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=5))

diagnoses = st.one_of(
    st.integers(0, 1100).map(str),
    st.integers(100, 99999).map(lambda hundredths: f"{hundredths / 100:.2f}"),
    st.sampled_from(("V45", "V58.6", "E909", "E9")),
    odd_text,
)


def values(column: Column) -> st.SearchStrategy[RawValue]:
    """What the API or a verified file may hold in a column: numbers are checked beforehand, words are not."""
    missing: st.SearchStrategy[RawValue] = st.sampled_from((MISSING, None))
    if column.kind is Kind.COUNT:
        numbers = st.integers(column.low, column.high)
        return st.one_of(numbers, numbers.map(str), missing)
    if column.kind is Kind.DIAGNOSIS:
        return st.one_of(diagnoses, missing)
    known = st.sampled_from(column.levels)
    if column.kind is Kind.CODE:
        return st.one_of(known, known.map(int), st.integers(column.low, column.high), missing)
    return st.one_of(known, odd_text, missing)


def cells(column: Column) -> st.SearchStrategy[Cell]:
    return st.tuples(st.just(column.name), values(column))


def example_record() -> Record:
    """The documented example."""
    return {column.name: column.example for column in RECORD_COLUMNS}


CELLS = [cells(column) for column in RECORD_COLUMNS]

record: st.SearchStrategy[Record] = st.builds(
    lambda base, changes: {**base, **dict(changes)},
    st.sampled_from((example_record(), {})),
    st.lists(st.sampled_from(CELLS).flatmap(lambda strategy: strategy), max_size=MANY_CELLS),
)


def records(min_size: int = 0) -> st.SearchStrategy[list[Record]]:
    """Some random records, most of them several times, as levels in a file."""
    different = st.lists(record, min_size=1, max_size=3)
    places = st.lists(st.integers(0, 2), min_size=min_size, max_size=12)
    return st.builds(lambda some, order: [some[place % len(some)] for place in order], different, places)


def as_text(value: RawValue) -> str | None:
    return None if value is None else str(value)


def raw_columns(rows: Sequence[Mapping[str, RawValue]]) -> pa.Table:
    """The same records as text columns; a column that no record has is absent."""
    names = [column.name for column in RECORD_COLUMNS if any(column.name in row for row in rows)]
    if not names:  # a table without columns has no rows either
        names = [RECORD_COLUMNS[0].name]
    return pa.table({name: pa.array([as_text(row.get(name)) for row in rows], pa.string()) for name in names})
