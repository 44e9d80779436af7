"""Encode one record as one row of the feature matrix, from cached values: a fast equal of ``Encoder.encode_record``.

Every feature either depends on one raw column alone or is a sum of counts over several (``rules.DERIVED``). So a raw
value determines a vector, its contribution to every feature, and the row of a record is the sum of the vectors of its
values. Vectors of values that were seen before are cached. Most values of most records are those of the example record
(``schema``), so the cache stores only where a vector differs from the example's, and a row starts as the example's row.
"""

import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from operator import getitem

import numpy as np
import numpy.typing as npt

from readmission.features.encoder import Encoder, Feature, encode_value, source_of
from readmission.features.record import RawValue, as_text
from readmission.features.rules import DERIVED, RULES, Derived, Rule
from readmission.schema import RECORD_COLUMNS

Vector = npt.NDArray[np.float64]

MOST_VALUES = 20_000
"""Most values in the cache, all columns together; the published file has 2,500. Others are computed each time."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)

_Contribution = Callable[[str, Vector], None]
"""Adds the contribution of a raw value, given as text, to a vector."""

_Entries = tuple[tuple[int, float], ...]
_Difference = tuple[_Entries, _Entries]
"""(index, value) of the features that only this column determines, and (index, amount) of those that are sums."""


class RowEncoder:
    """Encodes records, one at a time; any number of threads may share it.

    Args:
        encoder: the fitted encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._n_features = len(encoder.features)
        self._width = self._n_features
        self._ratios: list[tuple[int, int, int]] = []
        self._sums: set[int] = set()
        self._contributions: dict[str, list[_Contribution]] = {column.name: [] for column in RECORD_COLUMNS}
        self._plan(encoder)
        self._examples = {column.name: self._vector(column.name, column.example) for column in RECORD_COLUMNS}
        self._base: list[float] = np.sum(list(self._examples.values()), axis=0).tolist()
        self._cache: dict[str, dict[RawValue, _Difference | None]] = {column.name: {} for column in RECORD_COLUMNS}
        self._columns = tuple(self._cache.values())
        self._cached = 0
        self._lock = threading.Lock()

    def encode(self, raw: Mapping[str, RawValue]) -> npt.NDArray[np.float32]:
        """Encode any record; equal to ``Encoder.encode_record`` of its clean values.

        Args:
            raw: values under the source's names; None and absent names count as missing.

        Returns:
            shape (1, features).

        Raises:
            ValueError: a count is not a whole number, or a number does not fit float32.
        """
        total: Vector = np.sum([self._vector(name, raw.get(name)) for name in self._cache], axis=0)
        if np.abs(total).max() > _FLOAT32_MAX:
            raise ValueError("a number is beyond float32")
        return stack([self._finish(total.tolist())])

    def encode_known(self, values: Sequence[RawValue]) -> list[float] | None:
        """Encode a record from cached values; None if one of its values is not in the cache.

        Args:
            values: exactly one for each of ``schema.RECORD_COLUMNS``, in their order; None is missing.

        Returns:
            the features, shape (features,); ``stack`` makes an array of one or more of them.
        """
        row = self._base.copy()
        try:
            for replaced, added in filter(None, map(getitem, self._columns, values)):
                for index, amount in replaced:
                    row[index] = amount
                for index, amount in added:
                    row[index] += amount
        except KeyError:
            return None
        return self._finish(row)

    def learn(self, name: str, value: RawValue) -> None:
        """Add a value to the cache, unless the cache is full.

        Raises:
            ValueError: a count is not a whole number.
        """
        difference = self._difference(name, value)
        with self._lock:
            if value not in self._cache[name] and self._cached < MOST_VALUES:
                self._cache[name][value] = difference
                self._cached += 1

    def knows(self, name: str, value: RawValue) -> bool:
        """Whether a value is in the cache."""
        return value in self._cache[name]

    def _difference(self, name: str, value: RawValue) -> _Difference | None:
        vector, example = self._vector(name, value), self._examples[name]
        indices = np.flatnonzero(vector != example).tolist()
        replaced = tuple((index, float(vector[index])) for index in indices if index not in self._sums)
        added = tuple((index, float(vector[index] - example[index])) for index in indices if index in self._sums)
        return (replaced, added) if indices else None

    def _vector(self, name: str, value: RawValue) -> Vector:
        vector = np.zeros(self._width)
        text = as_text(value)
        for contribute in self._contributions[name]:
            contribute(text, vector)
        return vector

    def _finish(self, row: list[float]) -> list[float]:
        for index, amount, per in self._ratios:
            row[index] = 10 * row[amount] // max(row[per], 1.0)
        return row[: self._n_features]

    def _plan(self, encoder: Encoder) -> None:
        rules = {rule.name: rule for rule in RULES}
        derived = {item.name: item for item in DERIVED}
        for index, feature in enumerate(encoder.features):
            clean = source_of(feature)
            if clean in derived:
                self._plan_sum(derived[clean], rules, index)
            else:
                self._contributions[rules[clean].source].append(_encoded(feature, rules[clean], index))

    def _plan_sum(self, derived: Derived, rules: Mapping[str, Rule], index: int) -> None:
        amount = index
        if derived.per is not None:  # numerator and denominator are summed in extra columns first
            amount, per = self._width, self._width + 1
            self._width += 2
            self._ratios.append((index, amount, per))
            self._sums.add(per)
            self._contributions[rules[derived.per].source].append(_counted(rules[derived.per], {}, per))
        self._sums.add(amount)
        for name in derived.sources:
            self._contributions[rules[name].source].append(_counted(rules[name], derived.weights, amount))


def stack(rows: Sequence[list[float]]) -> npt.NDArray[np.float32]:
    """Make an array of n encoded records, shape (n, features); n is at least 1."""
    numbers = array("f")  # converts a list three times as fast as numpy
    for row in rows:
        numbers.fromlist(row)
    return np.frombuffer(numbers, np.float32).reshape(len(rows), -1)


def _encoded(feature: Feature, rule: Rule, index: int) -> _Contribution:
    def add(text: str, vector: Vector) -> None:
        vector[index] = encode_value(feature, rule.clean(text))

    return add


def _counted(rule: Rule, weights: Mapping[str, int], index: int) -> _Contribution:
    def add(text: str, vector: Vector) -> None:
        value = rule.clean(text)
        if isinstance(value, int) and not weights:
            vector[index] += value
        elif isinstance(value, str):
            vector[index] += weights.get(value, 0)

    return add
