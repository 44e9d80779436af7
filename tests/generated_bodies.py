"""Hooks of Schemathesis: bodies that it cannot make by itself, records as CSV and as lines of JSON."""

import json

import schemathesis
from hypothesis import strategies as st

from readmission.schema import RECORD_COLUMNS, Column


def _value(column: Column) -> st.SearchStrategy[object]:
    if column.is_number:
        return st.integers(column.low, column.high)
    return st.sampled_from(column.levels or (column.example,))


_RECORD = st.fixed_dictionaries({}, optional={column.name: _value(column) for column in RECORD_COLUMNS})


def _csv(records: list[dict[str, object]]) -> bytes:
    names = [column.name for column in RECORD_COLUMNS]
    lines = [",".join(names)] + [",".join(str(record.get(name, "?")) for name in names) for record in records]
    return "\n".join(lines).encode()


def _ndjson(records: list[dict[str, object]]) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


_RECORDS = st.lists(_RECORD, min_size=1, max_size=5)
schemathesis.openapi.media_type("text/csv", _RECORDS.map(_csv))
schemathesis.openapi.media_type("application/x-ndjson", _RECORDS.map(_ndjson))


@schemathesis.hook
def before_load_schema(_: schemathesis.HookContext, description: dict) -> None:
    """It cannot send an example of a form that it was told how to generate; other tests send that one."""
    del description["paths"]["/predict/batch"]["post"]["requestBody"]["content"]["text/csv"]["example"]
