"""Explanations of single predictions, in the record's own terms."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from readmission.features.encoder import Encoder, source_of
from readmission.features.record import RawValue, clean_record
from readmission.features.row import RowEncoder
from readmission.model_bundle.shap_values import Additive, explain, load_explainer
from readmission.schema import LABELS
from readmission.serving.inference.errors import NoExplanationError


@dataclass(frozen=True, slots=True)
class Explanation:
    """SHAP values of one prediction.

    Attributes:
        base_value: log-odds of the predicted class over the training rows.
        contributions: of each feature its name, its value in the record's own terms, and what it adds.
    """

    base_value: float
    contributions: tuple[tuple[str, RawValue, float], ...]


class Explainer:
    """Explains predictions of one model; its trees are laid out at the first use, since most servers are never asked.

    Args:
        document: the content of ``explain.json``.
        encoder: of the same model.
        rows: the same, compiled.
    """

    def __init__(self, document: bytes, encoder: Encoder, rows: RowEncoder) -> None:
        self._document = document
        self._encoder = encoder
        self._rows = rows
        self._model: Additive | None = None
        self._lock = threading.Lock()

    def explain(self, raw: Mapping[str, RawValue], label: str) -> Explanation:
        """Say what each feature of a record adds to its prediction.

        Args:
            raw: the record, values under the source's names.
            label: the predicted class.

        Raises:
            ValueError: a count is no whole number, or a number is beyond float32.
            NoExplanationError: the model came with no explanation that can be read.
        """
        row = self._rows.encode(raw)[0].astype(np.float64)
        found = explain(self._loaded(), row, LABELS.index(label))
        clean = clean_record(raw)
        values = [clean[source_of(feature)] for feature in self._encoder.features]
        parts = zip(self._encoder.names, values, found.values.tolist(), strict=True)
        return Explanation(found.base_value, tuple(parts))

    def _loaded(self) -> Additive:
        with self._lock:
            if self._model is None:
                try:
                    self._model = load_explainer(json.loads(self._document), len(self._encoder.features))
                except (ValueError, LookupError, TypeError):
                    raise NoExplanationError from None
                self._document = b""
            return self._model
