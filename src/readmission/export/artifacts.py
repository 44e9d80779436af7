"""Load the model of a run, and write the bundle of a version to a folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.sklearn
import numpy as np
import numpy.typing as npt
import onnxruntime
from mlflow import MlflowClient
from mlflow.models import Model

from readmission.errors import ReadmissionError
from readmission.evaluation.metrics import decide
from readmission.export.signature import PIP_REQUIREMENTS, TRUSTED_TYPES, input_example, model_signature
from readmission.model_bundle import files as bundle
from readmission.services import Services
from readmission.training.model import FittedModel


def save_model(model: FittedModel, folder: Path, identity: Model | None = None) -> None:
    """Save an MLflow model with signature and example, in skops format, so that loading it runs no code from the file.

    Args:
        model: the fitted model.
        folder: created for the files.
        identity: run and logged model that it belongs to, if any.
    """
    mlflow.sklearn.save_model(
        model,
        folder,
        mlflow_model=identity,
        signature=model_signature(),
        input_example=input_example(),
        pip_requirements=list(PIP_REQUIREMENTS),
        skops_trusted_types=list(TRUSTED_TYPES),
    )


def load_model(client: MlflowClient, services: Services, model_id: str, folder: Path) -> FittedModel:
    """Load the model of a run from MLflow; only the types in ``signature.TRUSTED_TYPES`` are created.

    Args:
        client: of the tracking server.
        services: where it is.
        model_id: of the logged model.
        folder: receives the files.
    """
    location = client.get_logged_model(model_id).artifact_location
    local = mlflow.artifacts.download_artifacts(location, dst_path=str(folder), tracking_uri=services.mlflow_url)
    model = mlflow.sklearn.load_model(local)
    if not isinstance(model, FittedModel):
        raise ReadmissionError(f"Logged model {model_id} holds a {type(model).__name__}, not a model of this platform")
    return model


@dataclass(frozen=True, slots=True)
class Bundle:
    """The content of a version's files; see ``readmission.model_bundle.files``."""

    model: FittedModel
    onnx_model: bytes
    explanation: Mapping[str, Any]
    reference: Mapping[str, Any]
    selftest: bundle.SelfTest
    metadata: bundle.Metadata


def write_bundle(folder: Path, files: Bundle) -> None:
    """Write a version's files: the MLflow model, with the bundle in the same folder."""
    save_model(files.model, folder)
    (folder / bundle.MODEL_FILE).write_bytes(files.onnx_model)
    texts = {
        bundle.ENCODER_FILE: files.model.encoder_json,
        bundle.DECISION_FILE: files.model.decision_json,
        bundle.EXPLAIN_FILE: json.dumps(files.explanation),
        bundle.SELFTEST_FILE: files.selftest.model_dump_json(),
        bundle.REFERENCE_FILE: json.dumps(files.reference),
        bundle.METADATA_FILE: files.metadata.model_dump_json(),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)


def prove_parity(model: FittedModel, onnx_model: bytes, matrix: npt.NDArray[np.float32]) -> float:
    """Compare ONNX with the fitted estimator.

    Args:
        model: the fitted model.
        onnx_model: its export.
        matrix: encoded rows, shape (n, features).

    Returns:
        the largest difference between two probabilities.

    Raises:
        ReadmissionError: a class differs, or a probability by more than ``bundle.PARITY_TOLERANCE``.
    """
    session = onnxruntime.InferenceSession(onnx_model, providers=["CPUExecutionProvider"])
    (served,) = session.run([bundle.ONNX_PROBABILITIES], {bundle.ONNX_INPUT: np.ascontiguousarray(matrix)})
    fitted = model.predict_matrix(matrix)
    difference = float(np.abs(served - fitted).max())
    differing = int((decide(served, model.decision) != decide(fitted, model.decision)).sum())
    if differing or difference > bundle.PARITY_TOLERANCE:
        raise ReadmissionError(
            f"ONNX export refused: {differing} of {len(matrix)} classes differ, largest difference {difference:.2g}"
        )
    return difference
