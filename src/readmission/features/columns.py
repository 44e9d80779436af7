"""The cleaning rules over whole columns (training, batches): Arrow in, Arrow out.

A column has few distinct values, so each rule runs once per distinct value and the answers are spread over the rows.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.features.rules import DERIVED, RULES, Derived, Rule
from readmission.schema import MISSING

ARROW_TYPES = {"text": pa.string(), "integer": pa.int32()}


def clean_columns(raw: pa.Table) -> pa.Table:
    """Clean raw text columns.

    Args:
        raw: text columns under the source's names; absent ones count as missing. n rows.

    Returns:
        n rows, one column for each of ``rules.FEATURE_TYPES``, in that order; text is dictionary-encoded.
    """
    cleaned = {rule.name: _apply(rule, raw) for rule in RULES}
    for derived in DERIVED:
        cleaned[derived.name] = _derive(derived, cleaned)
    return pa.table(cleaned)


def _apply(rule: Rule, raw: pa.Table) -> pa.Array:
    if rule.source not in raw.column_names:
        raw = raw.append_column(rule.source, pa.array([MISSING] * raw.num_rows, pa.string()))
    encoded = pc.dictionary_encode(raw.column(rule.source).combine_chunks())
    values = pa.array([rule.clean(value) for value in encoded.dictionary.to_pylist()], ARROW_TYPES[rule.dtype])
    if rule.dtype == "integer":
        return values.take(encoded.indices)
    return _merge_levels(values, encoded.indices)


def _merge_levels(values: pa.Array, indices: pa.Array) -> pa.DictionaryArray:
    """Spread cleaned words over rows; several raw words may have become one, so the dictionary is made anew."""
    levels = pc.dictionary_encode(values)
    return pa.DictionaryArray.from_arrays(levels.indices.take(indices), levels.dictionary)


def _derive(derived: Derived, cleaned: dict[str, pa.Array]) -> pa.Array:
    total = np.sum([_weigh(cleaned[name], derived.weights) for name in derived.sources], axis=0, dtype=np.int32)
    if derived.per is not None:
        total = 10 * total // np.maximum(np.asarray(cleaned[derived.per].fill_null(1), np.int32), 1)
    return pa.array(total)


def _weigh(column: pa.Array, weights: Mapping[str, int]) -> npt.NDArray[np.int32]:
    if not weights:
        return np.asarray(column.fill_null(0), np.int32)
    by_level = [weights.get(level, 0) for level in column.dictionary.to_pylist()]
    counts = np.array([*by_level, 0], np.int32)
    positions: npt.NDArray[np.int32] = np.asarray(column.indices.fill_null(len(by_level)))
    return counts[positions]
