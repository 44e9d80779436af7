"""The model for the other servers: a DataFrame of raw records in, class and probabilities out.

As fast as possible with pandas; it only needs pandas, numpy and LightGBM, so that it runs in any server's environment.
All text columns share one vocabulary: one look-up (``Index.get_indexer``) cleans and encodes them, while a look-up per
column, a ``map`` or a ColumnTransformer takes many times as long.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd

MISSING = "?"
NAMES_FILE = "names.json"
TABLES_FILE = "tables.npz"
TREES_FILE = "trees.txt"

Matrix = npt.NDArray[np.float32]
Chances = npt.NDArray[np.float64]


class PandasModel:
    """Cleaning, encoding, boosted trees and decision rule.

    Args:
        folder: written by ``export``.
    """

    def __init__(self, folder: Path) -> None:
        names = json.loads((folder / NAMES_FILE).read_bytes())
        self.columns: list[str] = names["columns"]
        self._columns = pd.Index(self.columns)
        self._counts = self._columns.get_indexer(names["counts"])
        self._levels = self._columns.get_indexer(names["levels"])
        self._labels: list[str] = names["labels"]
        self._vocabulary = pd.Index(names["vocabulary"], dtype=object)
        self._missing = names["vocabulary"].index(MISSING)
        self._ratios: list[tuple[int, int, int]] = names["ratios"]
        self._tables = dict(np.load(folder / TABLES_FILE))
        self._each_level = np.arange(len(self._levels))
        self._trees = lightgbm.Booster(model_file=str(folder / TREES_FILE))

    def frame(self, records: Sequence[Sequence[Any]]) -> pd.DataFrame:
        """Make a DataFrame of values in the order of ``columns``: fastest as one block without type inference."""
        return pd.DataFrame(np.array(records, dtype=object), columns=self._columns, dtype=object)

    def matrix(self, records: pd.DataFrame) -> Matrix:
        """Clean and encode n records, in float32 as the trees were trained; shape (n, features)."""
        tables = self._tables
        if not records.columns.equals(self._columns):
            records = records.reindex(columns=self._columns)
        values = records.to_numpy(object)
        words = values[:, self._levels]
        codes = self._vocabulary.get_indexer(words.ravel()).reshape(words.shape)
        if codes.min() < 0:  # -1, an unseen word, is the last column of ``rows``
            codes[pd.isna(words)] = self._missing
        total = tables["base"] + tables["added"][tables["rows"][self._each_level, codes]].sum(axis=1)
        counts = values[:, self._counts].astype(np.float64)
        known = ~np.isnan(counts)
        if not known.all():
            counts = np.where(known, counts, 0.0)
        total += counts @ tables["slopes"] + known @ tables["at_zero"]
        for place, amount, per in self._ratios:
            total[:, place] = 10 * total[:, amount] // np.maximum(total[:, per], 1)
        return total[:, : tables["n_features"]].astype(np.float32)

    def predict(self, records: pd.DataFrame) -> tuple[list[str], Chances]:
        """Predict n records: classes, and probabilities in the order of the labels, shape (n, 3)."""
        probabilities: Chances = np.asarray(self._trees.predict(self.matrix(records), num_threads=1))
        chosen = np.argmax(probabilities * self._tables["weights"] - self._tables["offsets"], axis=1)
        return [self._labels[place] for place in chosen], probabilities

    def answers(self, records: pd.DataFrame) -> list[dict[str, Any]]:
        """Predict n records, in the format of the API."""
        labels, probabilities = self.predict(records)
        return [
            {"readmission_prediction": label, "probabilities": dict(zip(self._labels, chances, strict=True))}
            for label, chances in zip(labels, probabilities.tolist(), strict=True)
        ]

    def answer(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Predict one record, in the format of the API."""
        return self.answers(self.frame([[features.get(name) for name in self.columns]]))[0]
