"""The forms in which many records come and their answers go: JSON, lines of JSON, CSV."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from readmission.schema import RECORD_COLUMNS
from readmission.serving.http.batch_texts import BatchTexts
from readmission.serving.http.decoding import read_csv, read_json, read_ndjson
from readmission.serving.http.encoding import CSV_HEADER, batch_lines, batch_members
from readmission.serving.http.schemas import EXAMPLE

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"


@dataclass(frozen=True, slots=True)
class Form:
    """How a batch is read and answered."""

    media_type: str
    read: Callable[[bytes], pa.Table]
    write: Callable[[Iterable[BatchTexts]], Iterator[bytes]]


def _json(parts: Iterable[BatchTexts]) -> Iterator[bytes]:
    yield b'{"predictions":['
    first = True
    for part in parts:
        members = batch_members(part, before=",")
        yield members[1:] if first else members
        first = first and not members
    yield b"]}"


def _ndjson(parts: Iterable[BatchTexts]) -> Iterator[bytes]:
    for part in parts:
        yield batch_members(part, after="\n")


def _csv(parts: Iterable[BatchTexts]) -> Iterator[bytes]:
    yield CSV_HEADER.encode()
    for part in parts:
        yield batch_lines(part)


FORMS: Mapping[str, Form] = {
    JSON: Form(JSON, read_json, _json),
    NDJSON: Form(NDJSON, read_ndjson, _ndjson),
    CSV: Form(CSV, read_csv, _csv),
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
