"""Predictions whose every value has been met before: decoded, looked up, scored, written. Anything else is None."""

from typing import Any

import msgspec

from readmission.schema import RECORD_COLUMNS
from readmission.serving.data_plane import DataPlane, Predicted

# float: 41.0 is the whole number 41, in JSON Schema too. Not bool: to Python, true is 1.
_Value = int | float | str | None

_Record: Any = msgspec.defstruct(
    "_Record",
    [(f"field_{place}", _Value, None) for place in range(len(RECORD_COLUMNS))],
    rename={f"field_{place}": column.name for place, column in enumerate(RECORD_COLUMNS)},
    forbid_unknown_fields=True,
    gc=False,
)
"""A record's fields in their order. Identifiers and the outcome are allowed in a body but not kept, and this lane keeps
the body as it is: they take the other."""


class _Body(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    features: _Record


class FastLane:
    """Answers what it can.

    Args:
        plane: the logic.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._decode = msgspec.json.Decoder(_Body).decode

    def answer(self, body: bytes) -> Predicted | None:
        """Answer a body of ``/predict``; None: the application has to look at it."""
        try:
            record = self._decode(body).features
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return self._plane.predict_known(msgspec.structs.astuple(record), body)
