"""Apply the cleaning rules to whole Arrow columns (training, batches).

A column has few distinct values, so each rule runs once per distinct value and its result is mapped to the rows.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.features.rules import DERIVED, RULES, Derived, Rule
from readmission.schema import MISSING

Numbers = npt.NDArray[np.int32]

ARROW_TYPES = {"text": pa.string(), "integer": pa.int32()}


def clean_columns(raw: pa.Table) -> pa.Table:
    """Clean raw text columns.

    Args:
        raw: text columns under the source's names; absent columns count as missing. n rows.

    Returns:
        n rows, one column for each of ``rules.FEATURE_TYPES``, in that order; text is dictionary-encoded.
    """
    cleaned = {rule.name: _apply(rule, raw) for rule in RULES}
    sources = _Sources(cleaned)
    return pa.table({**cleaned, **{derived.name: _derive(derived, sources) for derived in DERIVED}})


def _apply(rule: Rule, raw: pa.Table) -> pa.Array:
    if rule.source not in raw.column_names:
        raw = raw.append_column(rule.source, pa.array([MISSING] * raw.num_rows, pa.string()))
    encoded = pc.dictionary_encode(raw.column(rule.source).combine_chunks())
    values = pa.array([rule.clean(value) for value in encoded.dictionary.to_pylist()], ARROW_TYPES[rule.dtype])
    if rule.dtype == "integer":
        return values.take(encoded.indices)
    return _merge_levels(values, encoded.indices)


def _merge_levels(values: pa.Array, indices: pa.Array) -> pa.DictionaryArray:
    """Map cleaned values to rows; several raw values may have the same clean one, so the dictionary is rebuilt."""
    levels = pc.dictionary_encode(values)
    return pa.DictionaryArray.from_arrays(levels.indices.take(indices), levels.dictionary)


class _Sources:
    """The source columns of derived columns as arrays; each is converted once for all that read it."""

    def __init__(self, cleaned: Mapping[str, pa.Array]) -> None:
        self._cleaned = cleaned
        self._numbers: dict[tuple[str, int], Numbers] = {}
        self._words: dict[str, tuple[dict[str, int], npt.NDArray[np.intp]]] = {}

    def numbers(self, name: str, missing: int) -> Numbers:
        """A column of integers as an array."""
        if (name, missing) not in self._numbers:
            self._numbers[name, missing] = np.asarray(self._cleaned[name].fill_null(missing), np.int32)
        return self._numbers[name, missing]

    def weights(self, name: str, weights: Mapping[str, int]) -> Numbers:
        """A text column with each value replaced by its weight; 0 for values without one."""
        if name not in self._words:
            column = self._cleaned[name]
            index_of = {level: index for index, level in enumerate(column.dictionary.to_pylist()) if level is not None}
            self._words[name] = index_of, np.asarray(column.indices.fill_null(len(column.dictionary)), np.intp)
        index_of, positions = self._words[name]
        # A column has more words than any condition has codes.
        by_index = np.zeros(len(self._cleaned[name].dictionary) + 1, np.int32)
        for level in weights.keys() & index_of.keys():
            by_index[index_of[level]] = weights[level]
        return by_index[positions]


def _derive(derived: Derived, sources: _Sources) -> pa.Array:
    if derived.weights:
        parts = [sources.weights(name, derived.weights) for name in derived.sources]
    else:
        parts = [sources.numbers(name, 0) for name in derived.sources]
    total = np.sum(parts, axis=0, dtype=np.int32)
    if derived.per is not None:
        total = 10 * total // np.maximum(sources.numbers(derived.per, 1), 1)
    return pa.array(total)
