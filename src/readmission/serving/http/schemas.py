"""Bodies of requests and answers as OpenAPI describes them. A record's fields come from ``schema``: one source of both.

Records are decoded and checked by ``inference.decoding`` and ``inference.validation``, not by these models; a test
proves that both allow the same.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from readmission.model_bundle.files import Metadata
from readmission.schema import BY_NAME, IDENTIFIERS, LABEL_COLUMN, MISSING, RECORD_COLUMNS, Column
from readmission.serving.inference.validation import MAX_TEXT


def example_value(column: Column) -> str | int:
    """The value of a column in the documented example, typed as in JSON."""
    return int(column.example) if column.is_number and column.example != MISSING else column.example


EXAMPLE: dict[str, Any] = {"features": {column.name: example_value(column) for column in RECORD_COLUMNS}}
"""The documented request: every field of a record."""

_PARTIAL_NAMES = (
    "race", "gender", "age", "admission_type_id", "discharge_disposition_id", "time_in_hospital",
    "num_lab_procedures", "num_medications",
)  # fmt: skip
PARTIAL_EXAMPLE: dict[str, Any] = {"features": {name: EXAMPLE["features"][name] for name in _PARTIAL_NAMES}}
"""The documented request with a few fields; the rest is missing."""


def _value_schema(column: Column) -> dict[str, Any]:
    if column.is_number:
        number = {"type": "integer", "minimum": column.low, "maximum": column.high}
        return {"anyOf": [number, {"const": MISSING}, {"type": "null"}]}
    return {"anyOf": [{"type": "string", "maxLength": MAX_TEXT}, {"type": "null"}]}


def _hints(column: Column) -> dict[str, Any]:
    """What the published file holds, for people and forms; other values are scored too."""
    hints: dict[str, Any] = {"x-kind": column.kind.value}
    if column.levels:
        hints["x-levels"] = list(column.levels)
    if column.is_number:
        hints["x-seen-range"] = [column.seen_low, column.seen_high]
    if column.unit:
        hints["x-unit"] = column.unit
    return hints


def _field_schema(column: Column) -> dict[str, Any]:
    about = {"default": None, "description": column.description, "examples": [example_value(column)]}
    return {**_value_schema(column), **about, **_hints(column)}


FEATURES_SCHEMA: dict[str, Any] = {
    "title": "Features",
    "description": 'A hospital stay. Every field may be left out; null and "?" are missing; unknown levels are scored.',
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **{column.name: _field_schema(column) for column in RECORD_COLUMNS},
        **{
            name: {"description": f"{BY_NAME[name].description}; accepted and ignored"}
            for name in (*IDENTIFIERS, LABEL_COLUMN)
        },
    },
}

PREDICT_REQUEST_SCHEMA: dict[str, Any] = {
    "title": "PredictRequest",
    "description": "A record to score.",
    "type": "object",
    "required": ["features"],
    "additionalProperties": False,
    "properties": {"features": {"$ref": "#/components/schemas/Features"}},
    "examples": [EXAMPLE],
}

COMPONENTS: dict[str, Any] = {"Features": FEATURES_SCHEMA, "PredictRequest": PREDICT_REQUEST_SCHEMA}
"""Schemas of requests that FastAPI does not find by itself, by their names in OpenAPI."""

PREDICT_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/PredictRequest"},
                "examples": {
                    "full": {"summary": "Every field", "value": EXAMPLE},
                    "partial": {"summary": "A few fields; the rest is missing", "value": PARTIAL_EXAMPLE},
                },
            }
        },
    }
}
"""What ``/predict`` and ``/explain`` read, for OpenAPI."""

Probabilities = TypedDict("Probabilities", {"NO": float, "<30": float, ">30": float})


class Prediction(TypedDict):
    """The class and the probability of each; the probabilities sum to 1."""

    readmission_prediction: Literal["NO", "<30", ">30"]
    probabilities: Probabilities


class Contribution(TypedDict):
    """What one feature adds to the log-odds of the predicted class (SHAP value), beside its value in the record."""

    feature: str
    value: str | int | None
    contribution: float


class Explanation(Prediction):
    """A prediction with its SHAP values: ``base_value`` and all contributions sum to the log-odds of its class."""

    base_value: float
    contributions: list[Contribution]


class FeedbackRequest(BaseModel):
    """What became of a prediction."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: UUID = Field(description="X-Prediction-Id of the answer")
    readmitted: Literal["NO", "<30", ">30"]


class Accepted(TypedDict):
    """The server has taken it and will log it."""

    status: Literal["accepted"]


class Health(TypedDict):
    """Whether a model is loaded."""

    status: Literal["ok", "no model"]
    model: str


class Preprocessing(BaseModel):
    """The fitted encoder that belongs to the model."""

    status: Literal["loaded"] = "loaded"
    encoder_version: int
    features: int


class ModelInfo(Metadata):
    """The model that serves."""

    version: str
    stage: Literal["Production"] = "Production"
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    loaded_at: datetime


PREDICTED: dict[str, Any] = {
    "headers": {
        "X-Prediction-Id": {"description": "Id of the prediction", "schema": {"type": "string", "format": "uuid"}},
        "X-Model-Version": {"description": "Model version that predicted", "schema": {"type": "string"}},
    },
    "links": {
        "feedback": {
            "operationId": "feedback",
            "description": "Report the outcome later",
            "requestBody": {"prediction_id": "$response.header.X-Prediction-Id", "readmitted": "NO"},
        }
    },
}
"""What OpenAPI says of an answer beside its body."""
