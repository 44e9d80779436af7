"""Records of the prediction log: a prediction, an outcome, the predictions of a batch; and their form on disk."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from readmission.features.record import RawValue
from readmission.schema import RECORD_COLUMNS

_NAMES = frozenset(column.name for column in RECORD_COLUMNS)
_encode = msgspec.json.Encoder().encode
_NUL = b"\\u0000"
_NOT_IN_POSTGRES = re.compile("[\x00\ud800-\udfff]")
"""NUL and halves of characters: JSON may hold them, PostgreSQL's jsonb may not."""


class PredictionRecord(NamedTuple):
    """One prediction.

    Attributes:
        id: UUID, as in the answer.
        at: seconds since 1970.
        version: of the model.
        body: JSON in UTF-8 that PostgreSQL takes: an object whose member ``features`` holds the hospital stay
            (``record_json``).
        probabilities: in the order of LABELS.
        label: the class.
    """

    id: str
    at: float
    version: str
    body: bytes
    probabilities: tuple[float, ...]
    label: str


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """What became of one prediction.

    Attributes:
        prediction_id: UUID of the prediction.
        at: when it was reported, seconds since 1970.
        readmitted: one of LABELS.
    """

    prediction_id: str
    at: float
    readmitted: str


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """Predictions of a batch.

    Attributes:
        count: how many.
        at: seconds since 1970.
        version: of the model.
        levels: JSON, a list of values for each column that the batch has.
        rows: in the binary form of PostgreSQL's COPY, without its header: id, probabilities and class, then the
            columns of the schema; the class is an index into LABELS, a value one into its column's list, both from 1,
            and 0 where the batch lacks the column.
    """

    count: int
    at: float
    version: str
    levels: bytes
    rows: bytes


LogRecord = PredictionRecord | FeedbackRecord | BatchRecord


def count_of(record: LogRecord) -> int:
    """How many predictions or outcomes a record holds."""
    return record.count if isinstance(record, BatchRecord) else 1


def record_json(features: Mapping[str, RawValue]) -> bytes:
    """Write a record's own fields as JSON that PostgreSQL takes; identifiers and the outcome stay out."""
    kept = features if features.keys() <= _NAMES else {name: features[name] for name in features.keys() & _NAMES}
    return storable_json({"features": kept})


def storable_json(content: Mapping[str, object]) -> bytes:
    """Write JSON that PostgreSQL takes; looks at each text only where there is one that it does not."""
    try:
        text = _encode(content)
    except UnicodeEncodeError:  # half a character
        return _encode(storable(content))
    return _encode(storable(content)) if _NUL in text else text


def storable(value: object) -> object:
    """Replace what PostgreSQL cannot hold within JSON, in a text or in those of a list or mapping."""
    if isinstance(value, str):
        return _NOT_IN_POSTGRES.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {name: storable(member) for name, member in value.items()}
    return [storable(member) for member in value] if isinstance(value, list) else value


def to_line(record: PredictionRecord | FeedbackRecord) -> str:
    """Write a record as one line of JSON."""
    if isinstance(record, FeedbackRecord):
        return json.dumps([record.prediction_id, record.at, record.readmitted])
    return json.dumps([record.id, record.at, record.version, record.body.decode(), record.probabilities, record.label])


def from_line(line: str) -> PredictionRecord | FeedbackRecord:
    """Read what ``to_line`` wrote.

    Raises:
        ValueError: it is something else, such as half a line.
    """
    fields = json.loads(line)
    try:
        if len(fields) == 3:
            return FeedbackRecord(*fields)
        number, at, version, body, probabilities, label = fields
        return PredictionRecord(number, at, version, body.encode(), tuple(probabilities), label)
    except (TypeError, AttributeError):
        raise ValueError("no record") from None
