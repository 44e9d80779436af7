"""Fit the encoder on a training set, and encode whole columns with it."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.features.encoder import CategoryFeature, Encoder, NumberFeature, RateFeature, source_of
from readmission.features.rules import FEATURE_TYPES

MIN_COUNT = 20
"""Rows that a level needs in training; rarer levels are treated as unseen."""


def fit_encoder(clean: pa.Table, min_count: int = MIN_COUNT) -> Encoder:
    """Learn levels and medians from the training rows; nearly constant columns are left out.

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
    """Encode clean columns block by block; the encoding of the distinct values is computed once for all blocks.

    Yields:
        blocks as of ``encode_columns``; at least one.
    """
    columns = [
        (indices, _column_of(encoder, source, indices, clean)) for source, indices in _by_source(encoder).items()
    ]
    for start in range(0, max(clean.num_rows, 1), chunk):
        matrix = np.empty((min(chunk, clean.num_rows - start), len(encoder.features)), np.float32)
        for indices, column in columns:
            column.encode(start, matrix, indices)
        yield matrix


def _by_source(encoder: Encoder) -> dict[str, list[int]]:
    """Indices of the features of each clean column, so that a level and its rates are looked up together."""
    indices: dict[str, list[int]] = {}
    for index, feature in enumerate(encoder.features):
        indices.setdefault(source_of(feature), []).append(index)
    return indices


def _fit_feature(name: str, column: pa.ChunkedArray, min_count: int) -> NumberFeature | CategoryFeature | None:
    counts = _count_values(column)
    if len(column) - max(counts.values(), default=0) < min(min_count, max(1, len(column) // 2)):
        return None  # nearly all rows have the same value
    if FEATURE_TYPES[name] == "integer":
        return NumberFeature(name=name, fill=_median(column))
    frequent = [level for level, count in counts.items() if count >= min_count]
    # By frequency: deterministic, and trees split levels of similar frequency well.
    order = sorted(frequent, key=lambda level: (-counts[level], level is None, level or ""))
    return CategoryFeature(name=name, levels=tuple(order))


def _count_values(column: pa.ChunkedArray) -> dict[str | None, int]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    counted = pc.value_counts(column)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _median(column: pa.ChunkedArray) -> float:
    known = column.drop_null()
    # The lower median: a value that occurs, so exact in float32.
    return float(np.sort(known.to_numpy())[(len(known) - 1) // 2]) if len(known) else 0.0


class _Numbers:
    """A clean column of numbers."""

    def __init__(self, column: pa.ChunkedArray, feature: NumberFeature) -> None:
        self._column = column.combine_chunks()
        self._fill = feature.fill

    def encode(self, start: int, matrix: npt.NDArray[np.float32], indices: Sequence[int]) -> None:
        """Write the rows from ``start`` on into their columns of a matrix."""
        part = self._column.slice(start, len(matrix))
        if part.null_count:
            part = part.cast(pa.float32()).fill_null(self._fill)
        matrix[:, indices[0]] = part.to_numpy(zero_copy_only=False)


class _Levels:
    """A clean text column, and the value of each of its features for each distinct text."""

    def __init__(self, column: pa.ChunkedArray, features: Sequence[CategoryFeature | RateFeature]) -> None:
        encoded = column.combine_chunks()
        if not pa.types.is_dictionary(encoded.type):
            encoded = pc.dictionary_encode(encoded)
        levels = [*encoded.dictionary.to_pylist(), None]
        self._missing = len(levels) - 1
        self._indices = encoded.indices
        codes = [[feature.codes.get(level, feature.other) for level in levels] for feature in features]
        self._tables = [np.array(of_feature, np.float32) for of_feature in codes]

    def encode(self, start: int, matrix: npt.NDArray[np.float32], indices: Sequence[int]) -> None:
        """Write the rows from ``start`` on into their columns of a matrix."""
        part = self._indices.slice(start, len(matrix))
        positions = np.asarray(part.fill_null(self._missing) if part.null_count else part, np.intp)
        for index, table in zip(indices, self._tables, strict=True):
            matrix[:, index] = table[positions]


def _column_of(encoder: Encoder, source: str, indices: Sequence[int], clean: pa.Table) -> _Numbers | _Levels:
    features = [encoder.features[index] for index in indices]
    if isinstance(features[0], NumberFeature):
        return _Numbers(clean.column(source), features[0])
    return _Levels(clean.column(source), features)  # type: ignore[arg-type]
