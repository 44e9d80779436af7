"""Measure the winner, reloaded from MLflow, on all of validation and once on test, and log what was found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mlflow import MlflowClient
from sklearn.metrics import classification_report, confusion_matrix

from readmission.bundle import Decision
from readmission.registry.artifacts import load_model
from readmission.registry.tracking import log_metrics
from readmission.results import TrainedModel
from readmission.schema import LABELS
from readmission.services import Services
from readmission.training.metrics import decide, score
from readmission.training.prepare import Arrays, to_arrays
from readmission.warehouse.clean import read_clean
from readmission.warehouse.connection import connect


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The winner on one part.

    Attributes:
        metrics: of ``metrics.score``.
        confusion: rows by true and predicted label, shape (3, 3).
        report: per-class precision, recall and F1, as text.
    """

    metrics: dict[str, float]
    confusion: npt.NDArray[np.int64]
    report: str


def evaluate_model(
    client: MlflowClient, services: Services, best: TrainedModel, scratch: Path
) -> dict[str, Evaluation]:
    """Evaluate on ``val`` and ``test``.

    Args:
        client: of the tracking server.
        services: where data and model are.
        best: the winner.
        scratch: an empty folder.
    """
    model = load_model(client, services, best.model_id, scratch)
    evaluations = {}
    for prefix, table in (("val", "validation_clean"), ("test", "test_clean")):
        with connect(services.clean_url) as clean:
            arrays = to_arrays(model.encoder, read_clean(clean, table))
        evaluations[prefix] = evaluate(arrays, model.predict_matrix(arrays.matrix), model.decision)
    return evaluations


def evaluate(arrays: Arrays, probabilities: npt.NDArray[np.float64], decision: Decision) -> Evaluation:
    """Measure answers against the truth.

    Args:
        arrays: of the part; n rows.
        probabilities: the model's, shape (n, 3).
        decision: how the class is chosen.
    """
    predicted = decide(probabilities, decision)
    every = list(range(len(LABELS)))
    return Evaluation(
        metrics=score(arrays.labels, probabilities, decision),
        confusion=confusion_matrix(arrays.labels, predicted, labels=every),
        report=classification_report(
            arrays.labels, predicted, labels=every, target_names=list(LABELS), digits=4, zero_division=0.0
        ),
    )


def log_evaluation(client: MlflowClient, run_id: str, evaluations: dict[str, Evaluation]) -> dict[str, float]:
    """Log metrics, confusion matrices and per-class reports to the winner's run.

    Returns:
        the metrics with their prefixes ``val_`` and ``test_``.
    """
    metrics = {
        f"{prefix}_{name}": value
        for prefix, evaluation in evaluations.items()
        for name, value in evaluation.metrics.items()
        if value == value
    }
    log_metrics(client, run_id, metrics)
    for prefix, evaluation in evaluations.items():
        table = {"labels": list(LABELS), "rows_true_columns_predicted": evaluation.confusion.tolist()}
        client.log_dict(run_id, table, f"evaluation/{prefix}_confusion_matrix.json")
        client.log_text(run_id, evaluation.report, f"evaluation/{prefix}_per_class_report.txt")
    return metrics
