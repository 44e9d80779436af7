"""Evaluate the winner, reloaded from MLflow, on validation and once on test, and log the results."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from mlflow import MlflowClient
from sklearn.metrics import classification_report, confusion_matrix

from readmission.errors import BadInputError
from readmission.evaluation.metrics import Probabilities, decide, score
from readmission.evaluation.resampling import score_intervals
from readmission.evaluation.slices import measure_slices
from readmission.export.artifacts import load_model
from readmission.model_bundle.files import Decision
from readmission.registry.tracking import log_metrics
from readmission.results import Expired, Interval, Selection, Slice, TrainedModel
from readmission.schema import EXPIRED_DISCHARGES, LABELS
from readmission.services import Services
from readmission.settings import Settings
from readmission.training.preparation import Arrays, to_arrays
from readmission.warehouse.clean import read_clean
from readmission.warehouse.connection import connect

MANY_ROWS = 10_000
"""With at least this many rows the leak check uses the score itself; with fewer, the lower end of its interval."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of the winner on one split.

    Attributes:
        metrics: of ``metrics.score``.
        intervals: of some of them.
        slices: by race, gender and age group.
        expired: share of encounters that ended in death or hospice, and F1 without them.
        confusion: rows by true and predicted label, shape (3, 3).
        report: per-class precision, recall and F1, as text.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    slices: tuple[Slice, ...]
    expired: Expired
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
            rows = read_clean(clean, table)
        arrays = to_arrays(model.encoder, rows)
        evaluations[prefix] = evaluate(rows, arrays, model.predict_matrix(arrays.matrix), model.decision)
    return evaluations


def evaluate(clean: pa.Table, arrays: Arrays, probabilities: Probabilities, decision: Decision) -> Evaluation:
    """Evaluate predictions.

    Args:
        clean: the rows of the split; n of them.
        arrays: the same rows, encoded.
        probabilities: the model's, shape (n, 3).
        decision: rule that chooses the class.
    """
    predicted = decide(probabilities, decision)
    every = list(range(len(LABELS)))
    return Evaluation(
        metrics=score(arrays.labels, probabilities, decision),
        intervals=score_intervals(arrays.labels, probabilities, predicted, arrays.groups),
        slices=measure_slices(clean, arrays.labels, probabilities, predicted, arrays.groups),
        expired=_expired(clean, arrays, probabilities, decision),
        confusion=confusion_matrix(arrays.labels, predicted, labels=every),
        report=classification_report(
            arrays.labels, predicted, labels=every, target_names=list(LABELS), digits=4, zero_division=0.0
        ),
    )


def _expired(clean: pa.Table, arrays: Arrays, probabilities: Probabilities, decision: Decision) -> Expired:
    discharge = clean.column("discharge_disposition_id").cast(pa.string())
    gone = pc.is_in(discharge, pa.array(EXPIRED_DISCHARGES)).to_numpy(zero_copy_only=False)
    others = score(arrays.labels[~gone], probabilities[~gone], decision)
    return Expired(rows=int(gone.sum()), share=float(gone.mean()), f1_without=others["f1_score"])


def prefixed_intervals(evaluations: dict[str, Evaluation]) -> dict[str, Interval]:
    """Intervals of both splits with the prefixes ``val_`` and ``test_``."""
    return {
        f"{prefix}_{name}": value
        for prefix, evaluation in evaluations.items()
        for name, value in evaluation.intervals.items()
    }


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


def stop_at_leak(selection: Selection, settings: Settings) -> None:
    """Stop if a score is too good to be true, since the outcome has probably leaked into the features.

    Raises:
        BadInputError: weighted F1 or the ROC-AUC of ``<30`` is above its limit.
    """
    limits = {"f1_score": settings.leak_f1, "lt30_roc_auc": settings.leak_lt30_auc}
    for prefix in ("val", "test"):
        for name, limit in limits.items():
            found = selection.intervals[f"{prefix}_{name}"]
            sure = found.value if selection.rows[prefix] >= MANY_ROWS else found.low
            if sure > limit:
                raise BadInputError(
                    f"Too good to be true: {prefix}_{name} is {found.value:.4f}, above {limit}: has the outcome leaked"
                    f" into the features? Nothing was published; if the data is really that easy, raise"
                    f" READMISSION_LEAK_{'F1' if name == 'f1_score' else 'LT30_AUC'}"
                )
