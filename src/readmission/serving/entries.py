"""What is kept of predictions and their outcomes: the kinds of entries, and how they look on disk."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_bytes

import msgspec

from readmission.features.record import RawValue
from readmission.schema import RECORD_COLUMNS

_NAMES = frozenset(column.name for column in RECORD_COLUMNS)
_encode = msgspec.json.Encoder().encode
_NUL = "\\u0000"
_NOT_IN_POSTGRES = re.compile("[\x00\ud800-\udfff]")
"""NUL and halves of characters: JSON may hold them, PostgreSQL's jsonb may not."""


@dataclass(frozen=True, slots=True)
class PredictionEntry:
    """One prediction.

    Attributes:
        id: UUID that the caller was told.
        at: seconds since 1970.
        version: of the model.
        features: as the caller sent them; may hold more than the record's fields.
        probabilities: in the order of LABELS.
        label: the class.
    """

    id: str
    at: float
    version: str
    features: Mapping[str, RawValue]
    probabilities: tuple[float, ...]
    label: str


@dataclass(frozen=True, slots=True)
class FeedbackEntry:
    """What became of one prediction.

    Attributes:
        prediction_id: UUID of the prediction.
        at: when it was told, seconds since 1970.
        readmitted: one of LABELS.
    """

    prediction_id: str
    at: float
    readmitted: str


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """Predictions of a batch.

    Attributes:
        count: how many.
        lines: as PostgreSQL's COPY reads them, in the order of the columns of ``predictions``.
    """

    count: int
    lines: str


Entry = PredictionEntry | FeedbackEntry | BatchEntry


def count_of(entry: Entry) -> int:
    """How many predictions or outcomes an entry holds."""
    return entry.count if isinstance(entry, BatchEntry) else 1


def new_id(at: float) -> str:
    """Make a UUID of version 7 (RFC 9562): random, and in the order of time, which keeps an index small.

    Args:
        at: seconds since 1970.
    """
    chance = int.from_bytes(token_bytes(10))
    time_bits = (int(at * 1000) & 0xFFFF_FFFF_FFFF) << 80
    text = f"{time_bits | 0x7 << 76 | (chance >> 68) << 64 | 0x2 << 62 | chance & 0x3FFF_FFFF_FFFF_FFFF:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def features_json(features: Mapping[str, RawValue]) -> str:
    """Write the record's own fields as JSON that PostgreSQL takes; identifiers and the outcome stay out."""
    kept = features if features.keys() <= _NAMES else {name: features[name] for name in features.keys() & _NAMES}
    try:
        text = _encode(kept).decode()
    except UnicodeEncodeError:  # half a character
        return _carefully(kept)
    return _carefully(kept) if _NUL in text else text


def _carefully(features: Mapping[str, RawValue]) -> str:
    return _encode({name: storable(value) for name, value in features.items()}).decode()


def storable(value: RawValue) -> RawValue:
    """Replace what PostgreSQL cannot hold within JSON."""
    return _NOT_IN_POSTGRES.sub("\ufffd", value) if isinstance(value, str) else value


def to_line(entry: Entry) -> str:
    """Write an entry as one line of JSON."""
    if isinstance(entry, BatchEntry):
        return json.dumps([entry.count, entry.lines])
    if isinstance(entry, FeedbackEntry):
        return json.dumps([entry.prediction_id, entry.at, entry.readmitted])
    features = features_json(entry.features)
    return json.dumps([entry.id, entry.at, entry.version, features, entry.probabilities, entry.label])


def from_line(line: str) -> Entry:
    """Read what ``to_line`` wrote.

    Raises:
        ValueError: it is something else, such as half a line.
    """
    fields = json.loads(line)
    try:
        if len(fields) == 2:
            return BatchEntry(*fields)
        if len(fields) == 3:
            return FeedbackEntry(*fields)
        number, at, version, features, probabilities, label = fields
        return PredictionEntry(number, at, version, json.loads(features), tuple(probabilities), label)
    except TypeError:
        raise ValueError("no entry") from None
