"""Fit the encoder on a training set, and encode whole columns with it."""

from collections.abc import Iterator, Sequence

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
    return next(encode_chunks(encoder, clean, max(clean.num_rows, 1)))


def encode_chunks(encoder: Encoder, clean: pa.Table, chunk: int) -> Iterator[npt.NDArray[np.float32]]:
    """Encode clean columns, so many rows at once; what depends on distinct values alone is looked up once for all.

    Yields:
        see ``encode_columns``; at least one.
    """
    columns = [(places, _column_of(encoder, source, places, clean)) for source, places in _by_source(encoder).items()]
    for start in range(0, max(clean.num_rows, 1), chunk):
        matrix = np.empty((min(chunk, clean.num_rows - start), len(encoder.features)), np.float32)
        for places, column in columns:
            column.encode(start, matrix, places)
        yield matrix


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


class _Numbers:
    """A clean column of numbers."""

    def __init__(self, column: pa.ChunkedArray, feature: NumberFeature) -> None:
        self._column = column.combine_chunks()
        self._fill = feature.fill

    def encode(self, start: int, matrix: npt.NDArray[np.float32], places: Sequence[int]) -> None:
        """Write rows from ``start`` on into columns of a matrix."""
        part = self._column.slice(start, len(matrix))
        if part.null_count:
            part = part.cast(pa.float32()).fill_null(self._fill)
        matrix[:, places[0]] = part.to_numpy(zero_copy_only=False)


class _Levels:
    """A clean column of words, and what several features make of each."""

    def __init__(self, column: pa.ChunkedArray, features: Sequence[CategoryFeature | RateFeature]) -> None:
        encoded = column.combine_chunks()
        if not pa.types.is_dictionary(encoded.type):
            encoded = pc.dictionary_encode(encoded)
        levels = [*encoded.dictionary.to_pylist(), None]
        self._missing = len(levels) - 1
        self._indices = encoded.indices
        codes = [[feature.codes.get(level, feature.other) for level in levels] for feature in features]
        self._tables = [np.array(of_feature, np.float32) for of_feature in codes]

    def encode(self, start: int, matrix: npt.NDArray[np.float32], places: Sequence[int]) -> None:
        """Write rows from ``start`` on into columns of a matrix."""
        part = self._indices.slice(start, len(matrix))
        positions = np.asarray(part.fill_null(self._missing) if part.null_count else part, np.intp)
        for place, table in zip(places, self._tables, strict=True):
            matrix[:, place] = table[positions]


def _column_of(encoder: Encoder, source: str, places: Sequence[int], clean: pa.Table) -> _Numbers | _Levels:
    features = [encoder.features[place] for place in places]
    if isinstance(features[0], NumberFeature):
        return _Numbers(clean.column(source), features[0])
    return _Levels(clean.column(source), features)  # type: ignore[arg-type]
