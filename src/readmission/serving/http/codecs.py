"""Media types of a batch and its answer: JSON, lines of JSON, CSV."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from readmission.schema import RECORD_COLUMNS
from readmission.serving.http.batch_texts import BatchTexts, to_texts
from readmission.serving.http.encoding import CSV_HEADER, batch_lines, batch_members
from readmission.serving.http.schemas import EXAMPLE
from readmission.serving.inference.data_plane import BatchPredictions
from readmission.serving.inference.decoding import decode_csv, decode_json, decode_ndjson

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"


@dataclass(frozen=True, slots=True)
class Codec:
    """How a batch is decoded, and its answer encoded."""

    media_type: str
    decode: Callable[[bytes], pa.Table]
    encode: Callable[[Iterable[BatchPredictions]], Iterator[bytes]]


def _texts(chunks: Iterable[BatchPredictions]) -> Iterator[BatchTexts]:
    return (to_texts(chunk.ids, chunk.scores) for chunk in chunks)


def _json(chunks: Iterable[BatchPredictions]) -> Iterator[bytes]:
    yield b'{"predictions":['
    first = True
    for texts in _texts(chunks):
        members = batch_members(texts, before=",")
        yield members[1:] if first else members
        first = first and not members
    yield b"]}"


def _ndjson(chunks: Iterable[BatchPredictions]) -> Iterator[bytes]:
    for texts in _texts(chunks):
        yield batch_members(texts, after="\n")


def _csv(chunks: Iterable[BatchPredictions]) -> Iterator[bytes]:
    yield CSV_HEADER.encode()
    for texts in _texts(chunks):
        yield batch_lines(texts)


CODECS: Mapping[str, Codec] = {
    JSON: Codec(JSON, decode_json, _json),
    NDJSON: Codec(NDJSON, decode_ndjson, _ndjson),
    CSV: Codec(CSV, decode_csv, _csv),
}

_RECORD = {"$ref": "#/components/schemas/Features"}
_CHANCES = {"type": "number", "minimum": 0, "maximum": 1}
_PREDICTION: dict[str, Any] = {
    "type": "object",
    "required": ["readmission_prediction", "probabilities", "prediction_id"],
    "properties": {
        "readmission_prediction": {"enum": ["NO", "<30", ">30"]},
        "probabilities": {"type": "object", "properties": {"NO": _CHANCES, "<30": _CHANCES, ">30": _CHANCES}},
        "prediction_id": {"type": "string", "format": "uuid"},
    },
}
_EXAMPLE_CSV = "\n".join(
    [",".join(column.name for column in RECORD_COLUMNS), ",".join(column.example for column in RECORD_COLUMNS)]
)


def _list_of(name: str, item: dict[str, Any]) -> dict[str, Any]:
    properties = {name: {"type": "array", "items": item}}
    return {"type": "object", "required": [name], "properties": properties, "additionalProperties": False}


BATCH_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": _list_of("records", _RECORD), "example": {"records": [EXAMPLE["features"]]}},
            NDJSON: {"schema": {"type": "string", "description": "One record per line, as JSON"}},
            CSV: {
                "schema": {"type": "string", "minLength": 1, "description": "With a header of field names"},
                "example": _EXAMPLE_CSV,
            },
        },
    }
}
"""What ``/predict/batch`` reads, for OpenAPI."""

BATCH_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One answer per record, in their order",
        "content": {
            JSON: {"schema": _list_of("predictions", _PREDICTION)},
            NDJSON: {"schema": {"type": "string"}},
            CSV: {"schema": {"type": "string"}},
        },
    }
}
"""What it answers."""
