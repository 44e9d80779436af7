"""Predictions of a whole batch for the log, written column by column: a tenth of the time of one by one."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from readmission.schema import BY_NAME, LABELS, MISSING
from readmission.serving.bulk import Scores
from readmission.serving.entries import BatchEntry, new_id, storable


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch for the log, and the id of each of its predictions."""

    entry: BatchEntry
    ids: list[str]


def make_entry(raw: pa.Table, scores: Scores, version: str, at: float) -> Kept:
    """Write a batch as lines for COPY.

    Args:
        raw: n rows as they were scored, dictionary columns of text.
        scores: their answers.
        version: of the model.
        at: seconds since 1970.
    """
    ids = [new_id(at) for _ in range(raw.num_rows)]
    start = f"\t{datetime.fromtimestamp(at, UTC).isoformat()}\t{version}\t{{"
    rows = zip(ids, _features(raw), scores.probabilities.tolist(), scores.labels.tolist(), strict=True)
    lines = [
        f"{number}{start}{features}}}\t{{{no!r},{after!r},{within!r}}}\t{LABELS[label]}\n"
        for number, features, (no, after, within), label in rows
    ]
    return Kept(BatchEntry(len(ids), "".join(lines)), ids)


def _features(raw: pa.Table) -> list[str]:
    if not raw.num_columns:
        return [""] * raw.num_rows
    parts = []
    for name in raw.column_names:
        column = raw.column(name).combine_chunks()
        levels = pa.array([_member(name, text) for text in column.dictionary.to_pylist()], pa.string())
        parts.append(levels.take(column.indices))
    joined: list[str] = pc.binary_join_element_wise(*parts, ",").to_pylist()
    return joined


def _member(name: str, text: str) -> str:
    """A member of a JSON object, its backslashes doubled for COPY."""
    value = int(text) if BY_NAME[name].is_number and text != MISSING else storable(text)
    return f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}".replace("\\", "\\\\")
