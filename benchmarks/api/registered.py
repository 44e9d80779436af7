"""The registered model as stored by training, a scikit-learn object. Runs in any server's environment.

It needs the project's source and pandas, PyArrow, scikit-learn, LightGBM and skops, but no MLflow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import skops.io

from readmission.schema import LABELS

MODEL_FILE = "model.skops"


class RegisteredModel:
    """Raw records in, class and probabilities out.

    Args:
        folder: of the registered version.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / MODEL_FILE
        # The benchmark itself has stored the file, so all its types are trusted.
        self._model = skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))
        self._model.estimator.set_params(n_jobs=1)

    def answer(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Predict one record, in the format of the API."""
        return self.answers([record])[0]

    def answers(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Predict records, in the format of the API."""
        told = self._model.predict(pd.DataFrame(list(records)))
        chances = told[list(LABELS)].to_numpy().tolist()
        return [
            {"readmission_prediction": label, "probabilities": dict(zip(LABELS, row, strict=True))}
            for label, row in zip(told["readmission_prediction"].tolist(), chances, strict=True)
        ]
