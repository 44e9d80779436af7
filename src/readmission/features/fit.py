"""Fit the encoder on a training set, and encode whole columns with it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.features.encoder import CategoryFeature, Encoder, NumberFeature, RateFeature, source_of
from readmission.features.rules import FEATURE_TYPES

MIN_COUNT = 20
"""A level seen less often in training is treated as unseen: too few rows to learn from."""


def fit_encoder(clean: pa.Table, min_count: int = MIN_COUNT) -> Encoder:
    """Learn levels and medians from the training rows; a column that hardly varies is left out.

    Args:
        clean: training rows, the columns of ``rules.FEATURE_TYPES``.
        min_count: rows that a level needs.

    Returns:
        the encoder of these rows.
    """
    fitted = (_fit_feature(name, clean.column(name), min_count) for name in FEATURE_TYPES)
    return Encoder(features=tuple(feature for feature in fitted if feature is not None))


def encode_columns(encoder: Encoder, clean: pa.Table) -> npt.NDArray[np.float32]:
    """Encode clean columns.

    Args:
        encoder: from ``fit_encoder``.
        clean: n rows with at least the encoder's columns.

    Returns:
        float32, shape (n, number of features), C order, no NaN. For training rows see ``rates.encode_training``.
    """
    matrix = np.empty((clean.num_rows, len(encoder.features)), np.float32)
    for source, places in _by_source(encoder).items():
        column, features = clean.column(source), [encoder.features[place] for place in places]
        if isinstance(features[0], NumberFeature):
            matrix[:, places[0]] = _encode_numbers(features[0], column)
        else:
            matrix[:, places] = _encode_levels(features, column)  # type: ignore[arg-type]
    return matrix


def _by_source(encoder: Encoder) -> dict[str, list[int]]:
    """Positions of the features of each clean column: a level and its rates are looked up in one go."""
    places: dict[str, list[int]] = {}
    for place, feature in enumerate(encoder.features):
        places.setdefault(source_of(feature), []).append(place)
    return places


def _fit_feature(name: str, column: pa.ChunkedArray, min_count: int) -> NumberFeature | CategoryFeature | None:
    counts = _count_values(column)
    if len(column) - max(counts.values(), default=0) < min(min_count, max(1, len(column) // 2)):
        return None  # all but a handful of rows are alike
    if FEATURE_TYPES[name] == "integer":
        return NumberFeature(name=name, fill=_median(column))
    frequent = [level for level, count in counts.items() if count >= min_count]
    # By frequency: deterministic, and neighbours in the order are alike in size, which suits trees.
    order = sorted(frequent, key=lambda level: (-counts[level], level is None, level or ""))
    return CategoryFeature(name=name, levels=tuple(order))


def _count_values(column: pa.ChunkedArray) -> dict[str | None, int]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    counted = pc.value_counts(column)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _median(column: pa.ChunkedArray) -> float:
    known = column.drop_null()
    # The lower middle value: a value that occurs, so exact in float32.
    return float(np.sort(known.to_numpy())[(len(known) - 1) // 2]) if len(known) else 0.0


def _encode_numbers(feature: NumberFeature, column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = column.cast(pa.float32()).fill_null(feature.fill).to_numpy()
    return numbers


def _encode_levels(
    features: Sequence[CategoryFeature | RateFeature], column: pa.ChunkedArray
) -> npt.NDArray[np.float32]:
    """Look the levels of one column up for several features, shape (n, features)."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = pc.dictionary_encode(encoded)
    levels = [*encoded.dictionary.to_pylist(), None]
    codes = [[feature.codes.get(level, feature.other) for feature in features] for level in levels]
    positions: npt.NDArray[np.intp] = np.asarray(encoded.indices.fill_null(len(levels) - 1), np.intp)
    return np.array(codes, np.float32).take(positions, axis=0)
