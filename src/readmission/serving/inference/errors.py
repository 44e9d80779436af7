"""Why a record gets no prediction. What speaks to a caller decides how to say it (``http.problems``, ``score_file``).

No message ever holds a value of a record: field names, ranges and positions only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_ERRORS = 100
"""Wrong fields that one error names."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its position in the body (``features.age``, ``line 3, age``) and what it must be."""

    field: str
    detail: str


class PredictionError(Exception):
    """There is no prediction; the message is one sentence for people: what is wrong and what to do."""


class InvalidJsonError(PredictionError):
    """A body is not JSON.

    Args:
        position: of the first character that does not fit, from 0; None where it is not known.
    """

    def __init__(self, position: int | None = None) -> None:
        where = "cannot be read as JSON in UTF-8" if position is None else f"is not JSON from character {position} on"
        super().__init__(f"The body {where}.")


class InvalidFieldsError(PredictionError):
    """Fields are wrong, unknown or of another type.

    Args:
        errors: every wrong field; the first ``MAX_ERRORS`` are kept.

    Attributes:
        errors: those that are kept.
    """

    def __init__(self, errors: Sequence[FieldError]) -> None:
        names = ", ".join(error.field for error in errors[:5]) + (", ..." if len(errors) > 5 else "")
        super().__init__(f"Wrong in this request: {names}.")
        self.errors = tuple(errors[:MAX_ERRORS])


class UnscorableError(PredictionError):
    """A number of the record is beyond what the model computes with."""

    def __init__(self) -> None:
        super().__init__("A number in this record is beyond what the model can compute with.")


class NoModelError(PredictionError):
    """No model is loaded."""

    def __init__(self) -> None:
        super().__init__(
            "No production model is loaded yet. Publish one to the model registry; it is picked up within seconds."
        )


class NoExplanationError(PredictionError):
    """The model came without an explanation, or with one that this release cannot read."""

    def __init__(self) -> None:
        super().__init__("This model version came with no explanation that can be read.")


class LogOffError(PredictionError):
    """Predictions are not logged here, so feedback has nothing to belong to."""

    def __init__(self) -> None:
        super().__init__("The prediction log is off here, so there is nothing to give feedback on.")
