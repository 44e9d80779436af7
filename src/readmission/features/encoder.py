"""The fitted encoder: clean columns to float32 features. It is plain data, stored as JSON, without code.

Every feature value is a whole number or a training median, which is exact in float32: a tree gets the same value in
training, in ONNX and in the API.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict

from readmission.features.rules import CleanValue


class NumberFeature(BaseModel):
    """A number; a missing value becomes ``fill``, the median of the training set."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["number"] = "number"
    name: str
    fill: float


class CategoryFeature(BaseModel):
    """A category; each level becomes its index, and all levels that were rare or absent in training the next index.

    ``levels`` may hold None: missing is a level of its own if it is frequent enough in training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["category"] = "category"
    name: str
    levels: tuple[str | None, ...]

    @cached_property
    def codes(self) -> dict[str | None, float]:
        """Index of each level."""
        return {level: float(position) for position, level in enumerate(self.levels)}

    @property
    def other(self) -> float:
        """Code of all levels that are not in ``levels``."""
        return float(len(self.levels))


class RateFeature(BaseModel):
    """Share of training rows with an outcome, among those that have the level (target encoding).

    The share is smoothed towards that of all training rows, more so for rarer levels (``rates``). It is rounded,
    so that a threshold between two neighbouring values is exact enough in float32.
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
    """The clean columns that a model reads, in order, and how each becomes a feature (frozen, stored as JSON)."""

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
            clean: from ``record.clean_record``.

        Returns:
            one number per feature.
        """
        return [encode_value(feature, clean[source_of(feature)]) for feature in self.features]

    @property
    def sources(self) -> tuple[str, ...]:
        """Clean columns that the features read, in the order of the features."""
        return tuple(source_of(feature) for feature in self.features)


def source_of(feature: Feature) -> str:
    """Name of the clean column that a feature reads."""
    return feature.source if isinstance(feature, RateFeature) else feature.name


def encode_value(feature: Feature, value: CleanValue) -> float:
    """Turn one clean value into the feature's number."""
    if isinstance(feature, NumberFeature):
        return feature.fill if value is None else float(value)
    return feature.codes.get(value, feature.other)  # type: ignore[arg-type]
