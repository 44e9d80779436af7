"""The model in production, loaded for the comparison with a challenger."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import mlflow.artifacts
import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa
from mlflow import MlflowClient
from psycopg import sql
from pydantic import BaseModel, ValidationError

from readmission.dataset.splits import SPLITS, Split
from readmission.errors import ReadmissionError
from readmission.evaluation.metrics import Labels, decide
from readmission.features.encoder import Encoder
from readmission.features.fit import encode_columns
from readmission.features.rules import FEATURE_TYPES
from readmission.model_bundle import files as bundle
from readmission.schema import ENCOUNTER_ID, PATIENT_NBR
from readmission.services import Services
from readmission.warehouse.connection import connect, statement
from readmission.warehouse.copy import read_table
from readmission.warehouse.split_assignments import load_assignments

_Kind = TypeVar("_Kind", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Champion:
    """A published version."""

    version: str
    encoder: Encoder
    decision: bundle.Decision
    metadata: bundle.Metadata
    onnx_model: bytes

    def predict(self, clean: pa.Table) -> Labels:
        """Predict clean rows.

        Returns:
            index into LABELS, shape (n,).
        """
        session = onnxruntime.InferenceSession(self.onnx_model, providers=["CPUExecutionProvider"])
        matrix = np.ascontiguousarray(encode_columns(self.encoder, clean))
        (probabilities,) = session.run([bundle.ONNX_PROBABILITIES], {bundle.ONNX_INPUT: matrix})
        return decide(probabilities, self.decision)


def load_champion(client: MlflowClient, services: Services, name: str, version: str, folder: Path) -> Champion:
    """Load a version from the registry.

    Args:
        client: of the registry.
        services: where it is.
        name: registered model.
        version: its version.
        folder: receives the files.

    Raises:
        ReadmissionError: it was made by a release with bundles or features that this one does not support.
    """
    source = client.get_model_version(name, version).source
    path = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder), tracking_uri=services.mlflow_url))
    try:
        champion = Champion(
            version=version,
            encoder=_read(path / bundle.ENCODER_FILE, Encoder),
            decision=_read(path / bundle.DECISION_FILE, bundle.Decision),
            metadata=_read(path / bundle.METADATA_FILE, bundle.Metadata),
            onnx_model=(path / bundle.MODEL_FILE).read_bytes(),
        )
    except (OSError, ValidationError) as error:
        raise ReadmissionError(f"Version {version} cannot be read: {type(error).__name__}") from error
    unknown = set(champion.encoder.sources) - FEATURE_TYPES.keys()
    if unknown:
        raise ReadmissionError(f"Version {version} reads features that this release does not have: {sorted(unknown)}")
    return champion


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    return kind.model_validate_json(path.read_text())


def unseen_rows(services: Services, champion: Champion, assignment: str) -> npt.NDArray[np.bool_]:
    """Find the validation rows that the champion was not trained on, in the order of ``row_id``.

    Args:
        services: where the databases are.
        champion: holds the name of the split assignment that it was trained with.
        assignment: split assignment of the challenger; if both are the same, no validation row was in training.
    """
    key = PATIENT_NBR if champion.metadata.assignment.startswith("patient") else ENCOUNTER_ID
    query = statement("SELECT {key} FROM validation_clean ORDER BY row_id", key=sql.Identifier(key))
    with connect(services.clean_url) as clean:
        keys = read_table(clean, query, {key: pa.int64()}).column(key).to_numpy()
    if champion.metadata.assignment == assignment:
        return np.ones(len(keys), bool)
    names, index = np.unique(keys, return_inverse=True)
    with connect(services.raw_url) as raw:
        splits = load_assignments(raw, champion.metadata.assignment, names)
    unseen: npt.NDArray[np.bool_] = splits[index] != SPLITS.index(Split.TRAIN)
    return unseen
