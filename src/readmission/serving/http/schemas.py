"""Bodies of requests and answers. The record's fields come from ``schema``; nothing about them is written twice."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from readmission.features.record import RawValue
from readmission.model_bundle.files import Metadata
from readmission.schema import BY_NAME, IDENTIFIERS, LABEL_COLUMN, MISSING, RECORD_COLUMNS, Column
from readmission.serving.inference.validation import TEXT_LIMIT, WrongValueError, check_of


class Record(BaseModel):
    """One hospital stay. Every field may be left out; null and "?" mean missing, an unknown level is scored."""

    model_config = ConfigDict(extra="forbid")

    def raw(self) -> dict[str, RawValue]:
        """Values under the source's names."""
        return self.model_dump(by_alias=True)


def _validator(column: Column) -> Callable[[object], RawValue]:
    check = check_of(column)

    def validate(value: object) -> RawValue:
        try:
            return check(value)
        except WrongValueError as error:
            raise PydanticCustomError("wrong_value", "{reason}", {"reason": str(error)}) from None

    return validate


def _number_schema(column: Column) -> dict[str, Any]:
    number = {"type": "integer", "minimum": column.low, "maximum": column.high}
    return {"anyOf": [number, {"const": MISSING}, {"type": "null"}]}


def _text_schema() -> dict[str, Any]:
    return {"anyOf": [{"type": "string", "maxLength": TEXT_LIMIT}, {"type": "null"}]}


def example_value(column: Column) -> str | int:
    """The value of a column in the documented example, typed as in JSON."""
    return int(column.example) if column.is_number and column.example != MISSING else column.example


def _known(column: Column) -> dict[str, Any]:
    """What the published file holds, for people and forms; other values are scored too."""
    known: dict[str, Any] = {"x-kind": column.kind.value}
    if column.levels:
        known["x-levels"] = list(column.levels)
    if column.is_number:
        known["x-seen-range"] = [column.seen_low, column.seen_high]
    if column.unit:
        known["x-unit"] = column.unit
    return known


def _field(column: Column) -> tuple[Any, Any]:
    schema = _number_schema(column) if column.is_number else _text_schema()
    kind = Annotated[RawValue, PlainValidator(_validator(column)), WithJsonSchema(schema)]
    field = Field(
        None,
        alias=column.name,
        description=column.description,
        examples=[example_value(column)],
        json_schema_extra=_known(column),
    )
    return kind, field


def _ignored_field(name: str) -> tuple[Any, Any]:
    return Any, Field(None, exclude=True, description=f"{BY_NAME[name].description}; accepted and ignored")


def _fields() -> dict[str, Any]:
    record = {column.name.replace("-", "_"): _field(column) for column in RECORD_COLUMNS}
    return record | {name: _ignored_field(name) for name in (*IDENTIFIERS, LABEL_COLUMN)}


if TYPE_CHECKING:
    Features = Record
else:
    Features = create_model("Features", __base__=Record, **_fields())

EXAMPLE: dict[str, Any] = {"features": {column.name: example_value(column) for column in RECORD_COLUMNS}}
"""The documented request: every field of a record."""

_PARTIAL_NAMES = (
    "race", "gender", "age", "admission_type_id", "discharge_disposition_id", "time_in_hospital",
    "num_lab_procedures", "num_medications",
)  # fmt: skip
PARTIAL_EXAMPLE: dict[str, Any] = {"features": {name: EXAMPLE["features"][name] for name in _PARTIAL_NAMES}}
"""The documented request with a few fields; the rest is missing."""


class PredictRequest(BaseModel):
    """A record to score."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    features: Features


Probabilities = TypedDict("Probabilities", {"NO": float, "<30": float, ">30": float})


class Prediction(TypedDict):
    """The class and the probability of each; the probabilities sum to 1."""

    readmission_prediction: Literal["NO", "<30", ">30"]
    probabilities: Probabilities


class Contribution(TypedDict):
    """What one feature adds to the log-odds of the answered class; its value in the record's own terms."""

    feature: str
    value: str | int | None
    contribution: float


class Explanation(Prediction):
    """A prediction taken apart: ``base_value`` and all contributions sum to the log-odds of the answered class."""

    base_value: float
    contributions: list[Contribution]


class FeedbackRequest(BaseModel):
    """What became of a prediction."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: UUID = Field(description="X-Prediction-Id of the answer")
    readmitted: Literal["NO", "<30", ">30"]


class Accepted(TypedDict):
    """The server has taken it and will keep it."""

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
    """What people ask about the model that serves."""

    version: str
    stage: Literal["Production"] = "Production"
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    loaded_at: datetime


PREDICTED: dict[str, Any] = {
    "headers": {
        "X-Prediction-Id": {"description": "Names the prediction", "schema": {"type": "string", "format": "uuid"}},
        "X-Model-Version": {"description": "Of the model that answered", "schema": {"type": "string"}},
    },
    "links": {
        "feedback": {
            "operationId": "feedback",
            "description": "Tell later what became of it",
            "requestBody": {"prediction_id": "$response.header.X-Prediction-Id", "readmitted": "NO"},
        }
    },
}
"""What OpenAPI tells of an answer beside its body."""
