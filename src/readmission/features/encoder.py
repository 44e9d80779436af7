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


class RateFeature(BaseModel):
    """How often an outcome followed in training where a category had this level.

    The share is pulled towards that of all training rows, the more the rarer the level (``rates``). Rounded, so that
    neighbouring values are far apart in float32 and a threshold between them is safe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["rate"] = "rate"
    name: str
    source: str
    outcome: str
    levels: tuple[str | None, ...]
    rates: tuple[float, ...]
    other: float

    @cached_property
    def codes(self) -> dict[str | None, float]:
        """Rate of each level."""
        return dict(zip(self.levels, self.rates, strict=True))


Feature = NumberFeature | CategoryFeature | RateFeature


class Encoder(BaseModel):
    """Which clean columns a model reads, in which order, and how each becomes a number (frozen, JSON)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = 1
    features: tuple[Feature, ...]

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
        return [encode_value(feature, clean[source_of(feature)]) for feature in self.features]

    @property
    def sources(self) -> tuple[str, ...]:
        """Clean columns that are read, in the order of the features."""
        return tuple(source_of(feature) for feature in self.features)


def source_of(feature: Feature) -> str:
    """Name the clean column that a feature reads."""
    return feature.source if isinstance(feature, RateFeature) else feature.name


def encode_value(feature: Feature, value: CleanValue) -> float:
    """Turn one clean value into the feature's number."""
    if isinstance(feature, NumberFeature):
        return feature.fill if value is None else float(value)
    return feature.codes.get(value, feature.other)  # type: ignore[arg-type]
