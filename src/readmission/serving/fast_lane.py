"""Predictions whose every value has been met before: decoded, looked up, scored, written. Anything else is None."""

import msgspec

from readmission.features.record import RawValue
from readmission.schema import RECORD_COLUMNS
from readmission.serving.data_plane import DataPlane, Predicted

_NAMES = frozenset(column.name for column in RECORD_COLUMNS)
"""Not the identifiers and the outcome, which are allowed: the body is kept as it is, and they are not."""


class _Body(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    # float: 41.0 is the whole number 41, in JSON Schema too. Not bool: to Python, true is 1.
    features: dict[str, int | float | str | None]


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
            features: dict[str, RawValue] = self._decode(body).features  # type: ignore[assignment]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if not features.keys() <= _NAMES:
            return None
        return self._plane.predict_known(features, body)
