"""One record to one row of the matrix, compiled for a fitted encoder: look-ups in place of a hundred rules.

Every feature either depends on one raw column alone or is a sum of counts over several (``rules.DERIVED``). So each raw
value has a vector, what it gives to every feature, and a record's row is made of the vectors of its values. Nearly all
values have been met before, and most records are much alike: kept of a value is only where its vector differs from that
of an ordinary value of the same column, and a row begins as that of an ordinary record.
"""

import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from readmission.features.encoder import Encoder, Feature, encode_value, source_of
from readmission.features.record import RawValue, as_text
from readmission.features.rules import DERIVED, RULES, Derived, Rule
from readmission.schema import RECORD_COLUMNS

Vector = npt.NDArray[np.float64]

MOST_VALUES = 20_000
"""Values that are kept, of all columns together; the source has 2,500. Others are worked out anew each time."""

_HEAD = [column.name for column in RECORD_COLUMNS].index("max_glu_serum")
"""Where the columns begin that are much alike in most records: tests, drugs, changes. They are looked up together."""

MOST_TAILS = 10_000
"""Combinations of their values that are kept; the source has 2,725."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)

_Part = Callable[[str, Vector], None]
"""Adds what a raw value, as text, contributes."""

_Places = tuple[tuple[int, float], ...]
_Change = tuple[_Places, _Places]
"""Features that a value sets, for no other column has a say in them, and features that it adds to, in whole numbers."""


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
        self._parts: dict[str, list[_Part]] = {column.name: [] for column in RECORD_COLUMNS}
        self._plan(encoder)
        self._ordinary = {column.name: self._vector(column.name, column.example) for column in RECORD_COLUMNS}
        self._start: list[float] = np.sum(list(self._ordinary.values()), axis=0).tolist()
        self._known: dict[str, dict[RawValue, _Change]] = {column.name: {} for column in RECORD_COLUMNS}
        columns = tuple(self._known.values())
        self._head, self._tail = columns[:_HEAD], columns[_HEAD:]
        self._tails: dict[tuple[RawValue, ...], _Change] = {}
        self._count = 0
        self._lock = threading.Lock()

    def encode(self, raw: Mapping[str, RawValue]) -> npt.NDArray[np.float32]:
        """Encode any record, as ``Encoder.encode_record`` does its clean values.

        Args:
            raw: values under the source's names; None and absent names count as missing.

        Returns:
            shape (1, features).

        Raises:
            ValueError: a count is no whole number, or a number is beyond float32.
        """
        total: Vector = np.sum([self._vector(name, raw.get(name)) for name in self._known], axis=0)
        if np.abs(total).max() > _FLOAT32_MAX:
            raise ValueError("a number is beyond float32")
        return stack([self._finish(total.tolist())])

    def encode_known(self, values: Sequence[RawValue]) -> list[float] | None:
        """Encode a record all of whose values have been learned, quickly; None where one has not.

        Args:
            values: one for each of ``schema.RECORD_COLUMNS``, in their order; None is missing.

        Returns:
            the features; ``stack`` makes rows of one or more.
        """
        row = self._start.copy()
        try:
            changes = [known[value] for known, value in zip(self._head, values[:_HEAD], strict=True)]
            changes.append(self._change_of_tail(tuple(values[_HEAD:])))
            for given, added in changes:
                for place, amount in given:
                    row[place] = amount
                for place, amount in added:
                    row[place] += amount
        except KeyError:
            return None
        return self._finish(row)

    def _change_of_tail(self, values: tuple[RawValue, ...]) -> _Change:
        change = self._tails.get(values)
        if change is None:
            changes = [known[value] for known, value in zip(self._tail, values, strict=True)]
            change = (
                tuple(chain.from_iterable(one[0] for one in changes)),
                tuple(chain.from_iterable(one[1] for one in changes)),
            )
            if len(self._tails) < MOST_TAILS:
                self._tails[values] = change
        return change

    def learn(self, name: str, value: RawValue) -> None:
        """Keep the vector of a value, unless there are too many already.

        Raises:
            ValueError: a count is no whole number.
        """
        change = self._change(name, value)
        with self._lock:
            if value not in self._known[name] and self._count < MOST_VALUES:
                self._known[name][value] = change
                self._count += 1

    def knows(self, name: str, value: RawValue) -> bool:
        """Whether a value has been learned."""
        return value in self._known[name]

    def _change(self, name: str, value: RawValue) -> _Change:
        vector, ordinary = self._vector(name, value), self._ordinary[name]
        places = np.flatnonzero(vector != ordinary).tolist()
        given = tuple((place, float(vector[place])) for place in places if place not in self._sums)
        return given, tuple((p, float(vector[p] - ordinary[p])) for p in places if p in self._sums)

    def _vector(self, name: str, value: RawValue) -> Vector:
        vector = np.zeros(self._width)
        text = as_text(value)
        for part in self._parts[name]:
            part(text, vector)
        return vector

    def _finish(self, row: list[float]) -> list[float]:
        for place, amount, per in self._ratios:
            row[place] = 10 * row[amount] // max(row[per], 1.0)
        return row[: self._n_features]

    def _plan(self, encoder: Encoder) -> None:
        rules = {rule.name: rule for rule in RULES}
        derived = {item.name: item for item in DERIVED}
        for place, feature in enumerate(encoder.features):
            clean = source_of(feature)
            if clean in derived:
                self._plan_sum(derived[clean], rules, place)
            else:
                self._parts[rules[clean].source].append(_encoded(feature, rules[clean], place))

    def _plan_sum(self, derived: Derived, rules: Mapping[str, Rule], place: int) -> None:
        amount = place
        if derived.per is not None:  # numerator and denominator are summed first, beside the features
            amount, per = self._width, self._width + 1
            self._width += 2
            self._ratios.append((place, amount, per))
            self._sums.add(per)
            self._parts[rules[derived.per].source].append(_counted(rules[derived.per], {}, per))
        self._sums.add(amount)
        for name in derived.sources:
            self._parts[rules[name].source].append(_counted(rules[name], derived.weights, amount))


def stack(rows: Sequence[list[float]]) -> npt.NDArray[np.float32]:
    """Lay n encoded records down as an array, shape (n, features); at least one."""
    numbers = array("f")  # takes a list in a third of the time that numpy does
    for row in rows:
        numbers.fromlist(row)
    return np.frombuffer(numbers, np.float32).reshape(len(rows), -1)


def _encoded(feature: Feature, rule: Rule, place: int) -> _Part:
    def add(text: str, vector: Vector) -> None:
        vector[place] = encode_value(feature, rule.clean(text))

    return add


def _counted(rule: Rule, weights: Mapping[str, int], place: int) -> _Part:
    def add(text: str, vector: Vector) -> None:
        value = rule.clean(text)
        if isinstance(value, int) and not weights:
            vector[place] += value
        elif isinstance(value, str):
            vector[place] += weights.get(value, 0)

    return add
