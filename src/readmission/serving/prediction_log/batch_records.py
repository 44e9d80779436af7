"""Predictions of a whole batch for the log, laid out column by column: a tenth of the time of one by one.

A record is kept as one small code per column, rows of fixed size in PostgreSQL's binary form of COPY; what the codes
mean comes beside them, once, and the database makes the JSON of records from both.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.schema import LABELS, MISSING, RECORD_COLUMNS
from readmission.serving.prediction_log.records import BatchRecord, storable_json

MOST_LEVELS = 4_096
"""Of a column, beside the rows of one record: where a batch has more, only those that the record's rows have."""


def _row_type(fields: Sequence[tuple[str, str]]) -> tuple[np.dtype[Any], npt.NDArray[np.uint8]]:
    """A row of COPY's binary form, each field behind its length; and its bytes with count and lengths filled in."""
    parts = [("fields", ">i2")]
    for name, kind in fields:
        parts += [(f"{name} length", ">i4"), (name, kind)]
    row = np.zeros((), np.dtype(parts))
    row["fields"] = len(fields)
    for name, kind in fields:
        row[f"{name} length"] = np.dtype(kind).itemsize
    return row.dtype, np.frombuffer(row.tobytes(), np.uint8)


_ROW_TYPE, _ROW = _row_type(
    [
        ("id", "V16"),
        *((label, ">f8") for label in LABELS),
        ("class", ">i2"),
        *((column.name, ">i2") for column in RECORD_COLUMNS),
    ]
)


def make_batch_record(
    raw: pa.Table,
    ids: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.intp],
    probabilities: npt.NDArray[np.float64],
    version: str,
    at: float,
) -> BatchRecord:
    """Lay out a batch as ``BatchRecord`` describes it.

    Args:
        raw: n rows as they were scored, dictionary columns of text; at most 32,767.
        ids: of the predictions, shape (n, 16).
        labels: the classes, index in LABELS; shape (n,).
        probabilities: in the order of LABELS, shape (n, 3).
        version: of the model.
        at: seconds since 1970.
    """
    content = np.empty((raw.num_rows, _ROW.size), np.uint8)
    content[:] = _ROW
    rows = content.view(_ROW_TYPE)[:, 0]
    rows["id"] = ids.view("V16")[:, 0]
    for label, chances in zip(LABELS, probabilities.T, strict=True):
        rows[label] = chances
    rows["class"] = labels + 1
    levels = {}
    for column in RECORD_COLUMNS:
        if column.name in raw.column_names:
            values = _compact(raw.column(column.name).combine_chunks())
            rows[column.name] = np.asarray(values.indices) + 1
            texts = values.dictionary.to_pylist()
            levels[column.name] = [_number(text) for text in texts] if column.is_number else texts
    return BatchRecord(raw.num_rows, at, version, storable_json(levels), rows.tobytes())


def _compact(column: pa.DictionaryArray) -> pa.DictionaryArray:
    return column if len(column.dictionary) <= MOST_LEVELS else pc.dictionary_encode(column.cast(pa.string()))


@lru_cache(maxsize=10_000)
def _number(text: str) -> int | str:
    return text if text == MISSING else int(text)
