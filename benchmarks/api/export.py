"""Export a fitted model of the project for ``pandas_model``: names, tables and trees."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.api.pandas_model import MISSING, NAMES_FILE, TABLES_FILE, TREES_FILE
from readmission.features.encoder import Encoder
from readmission.features.record import RawValue, clean_record
from readmission.features.rules import DERIVED
from readmission.schema import LABELS, RECORD_COLUMNS, Column, Kind
from readmission.training.model import FittedModel

_UNSEEN = "an unseen word"

Vector = npt.NDArray[np.float64]


def export(model: FittedModel, diagnoses: Iterable[str], folder: Path) -> None:
    """Export a model.

    Args:
        model: boosted trees.
        diagnoses: codes to include; any other code counts as unseen.
        folder: created for the files.
    """
    folder.mkdir()
    model.estimator.booster_.save_model(str(folder / TREES_FILE))
    rows = _Rows(model.encoder)
    counts = [column for column in RECORD_COLUMNS if column.kind is Kind.COUNT]
    levels = {column.name: _levels(column, diagnoses) for column in RECORD_COLUMNS if column not in counts}
    vocabulary = list(dict.fromkeys(level for values in levels.values() for level in values))
    places, added = _level_tables(rows, levels, vocabulary)
    slopes, at_zero = _count_tables(rows, [column.name for column in counts])
    names = {
        "columns": [column.name for column in RECORD_COLUMNS],
        "counts": [column.name for column in counts],
        "levels": list(levels),
        "vocabulary": vocabulary,
        "ratios": rows.ratios,
        "labels": LABELS,
    }
    (folder / NAMES_FILE).write_text(json.dumps(names))
    np.savez(
        folder / TABLES_FILE,
        base=rows.base,
        rows=places,
        added=added,
        slopes=slopes,
        at_zero=at_zero,
        n_features=np.array(len(model.encoder.features)),
        weights=np.array(model.decision.weights),
        offsets=np.array(model.decision.offsets),
    )


def _levels(column: Column, diagnoses: Iterable[str]) -> list[RawValue]:
    known = sorted(set(diagnoses)) if column.kind is Kind.DIAGNOSIS else column.levels
    return [MISSING, *(int(level) if column.is_number else level for level in known if level != MISSING)]


class _Rows:
    """Rows of the matrix, and what one value adds to the row of an empty record.

    Each feature reads one column or is a sum over several, so what the values of a record add is added up. Ratios are
    the exception: numerator and denominator stand behind the features, and the ratio is taken last.

    Args:
        encoder: the fitted encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._parts: dict[str, list[int]] = {}
        self.ratios: list[tuple[int, int, int]] = []
        self._width = len(encoder.features)
        self._plan_ratios()
        self.base = self._row({})

    def _plan_ratios(self) -> None:
        names = self._encoder.names
        for derived in DERIVED:
            if derived.per is not None and derived.name in names:
                self.ratios.append((names.index(derived.name), self._width, self._width + 1))
                for source in derived.sources:
                    self._parts.setdefault(source, []).append(self._width)
                self._parts.setdefault(derived.per, []).append(self._width + 1)
                self._width += 2

    def added(self, name: str, value: RawValue) -> Vector:
        """What a value adds, shape (width,)."""
        return self._row({name: value}) - self.base

    def _row(self, raw: Mapping[str, RawValue]) -> Vector:
        row = np.zeros(self._width)
        encoded = self._encoder.encode_record(clean_record(raw))
        row[: len(encoded)] = encoded
        for place, _, _ in self.ratios:
            row[place] = 0.0
        for name, value in raw.items():
            row[self._parts.get(name, [])] = value if isinstance(value, int) else 0
        return row


def _level_tables(
    rows: _Rows, levels: Mapping[str, Sequence[RawValue]], vocabulary: Sequence[Any]
) -> tuple[npt.NDArray[np.intp], Vector]:
    """For each column and word (the last: an unseen one) a row in the second table: what it adds."""
    place_of = {word: place for place, word in enumerate(vocabulary)}
    places = np.empty((len(levels), len(vocabulary) + 1), np.intp)
    added: list[Vector] = []
    for number, (name, values) in enumerate(levels.items()):
        places[number] = len(added)
        added.append(rows.added(name, _UNSEEN))
        for value in values:
            places[number, place_of[value]] = len(added)
            added.append(rows.added(name, value))
    return places, np.array(added)


def _count_tables(rows: _Rows, names: Iterable[str]) -> tuple[Vector, Vector]:
    """For each count what one more adds, and what a known zero adds to a missing one."""
    zeros = [rows.added(name, 0) for name in names]
    ones = [rows.added(name, 1) for name in names]
    return np.array(ones) - np.array(zeros), np.array(zeros)
