"""A fitted model as one object, which MLflow stores for each run: raw records in, class and probabilities out."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator

from readmission.evaluation.metrics import decide
from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder
from readmission.features.fit import encode_columns
from readmission.model_bundle.files import Decision
from readmission.schema import LABELS, MISSING, RECORD_COLUMNS


class FittedModel(BaseEstimator):  # type: ignore[misc]
    """Cleaning, fitted encoder, fitted estimator and decision rule in one object.

    Attributes:
        encoder_json: the encoder as JSON, so that loading it runs no code.
        estimator: predicts from the encoder's matrix.
        decision_json: the decision rule as JSON.
    """

    def __init__(self, encoder_json: str, estimator: Any, decision_json: str) -> None:
        self.encoder_json = encoder_json
        self.estimator = estimator
        self.decision_json = decision_json

    @property
    def encoder(self) -> Encoder:
        """The fitted encoder."""
        return _read_encoder(self.encoder_json)

    @property
    def decision(self) -> Decision:
        """The decision rule."""
        return _read_decision(self.decision_json)

    def predict_matrix(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities of encoded rows; shape (n, 3), in the order of LABELS."""
        return predict_probabilities(self.estimator, matrix)

    def predict_proba(self, records: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Probabilities of raw records; absent columns count as missing; shape (n, 3)."""
        return self.predict_matrix(encode_columns(self.encoder, clean_columns(_as_text(records))))

    def predict(self, records: pd.DataFrame) -> pd.DataFrame:
        """Predict raw records: columns ``readmission_prediction`` and one of probabilities per label."""
        probabilities = self.predict_proba(records)
        predictions = pd.DataFrame(probabilities, columns=list(LABELS))
        predictions.insert(0, "readmission_prediction", np.array(LABELS)[decide(probabilities, self.decision)])
        return predictions


# Cached: a server of the stored model predicts one row at a time, and parsing the encoder takes longer than that.
@lru_cache(maxsize=8)
def _read_encoder(text: str) -> Encoder:
    return Encoder.model_validate_json(text)


@lru_cache(maxsize=8)
def _read_decision(text: str) -> Decision:
    return Decision.model_validate_json(text)


def predict_probabilities(estimator: Any, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities of every label, also of one that is not in the training set; shape (n, 3), ordered like LABELS."""
    seen = estimator.predict_proba(matrix)
    if seen.shape[1] == len(LABELS):
        return np.asarray(seen, np.float64)
    probabilities = np.zeros((len(matrix), len(LABELS)))
    probabilities[:, np.asarray(estimator.classes_, int)] = seen
    return probabilities


def _as_text(records: pd.DataFrame) -> pa.Table:
    names = [column.name for column in RECORD_COLUMNS if column.name in records.columns]
    texts = {name: [MISSING if pd.isna(value) else str(value) for value in records[name]] for name in names}
    return pa.table({name: pa.array(values, pa.string()) for name, values in texts.items()})
