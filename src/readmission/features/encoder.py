"""The fitted encoder: clean columns to float32 numbers. Plain data, written and read as JSON, no code inside.

Every number it makes is a whole number or a training median, exact in float32: a tree sees the same value in training,
in ONNX and in service.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict

from readmission.features.rules import CleanValue


class NumberFeature(BaseModel):
    """A number; missing becomes ``fill``, the median of the training set."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["number"] = "number"
    name: str
    fill: float


class CategoryFeature(BaseModel):
    """A category; a level becomes its position, one that was rare or absent in training the position after the last.

    ``levels`` may hold None: missing is a level of its own where training saw it often enough.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["category"] = "category"
    name: str
    levels: tuple[str | None, ...]

    @cached_property
    def codes(self) -> dict[str | None, float]:
        """Position of each level."""
        return {level: float(position) for position, level in enumerate(self.levels)}

    @property
    def other(self) -> float:
        """The code of every level that training did not know."""
        return float(len(self.levels))


class Encoder(BaseModel):
    """Which clean columns a model reads, in which order, and how each becomes a number (frozen, JSON)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = 1
    features: tuple[NumberFeature | CategoryFeature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in the order of the matrix' columns."""
        return tuple(feature.name for feature in self.features)

    def encode_record(self, clean: Mapping[str, CleanValue]) -> list[float]:
        """Encode one clean record.

        Args:
            clean: what ``record.clean_record`` answers.

        Returns:
            one number per feature.
        """
        return [_encode_value(feature, clean[feature.name]) for feature in self.features]


def _encode_value(feature: NumberFeature | CategoryFeature, value: CleanValue) -> float:
    if isinstance(feature, NumberFeature):
        return feature.fill if value is None else float(value)
    return feature.codes.get(value, feature.other)  # type: ignore[arg-type]
