"""Collect the content of a model card, write it, store it with the version, and read it."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import mlflow.artifacts
import numpy as np
import onnxruntime
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from readmission.context import Context
from readmission.dataset.source_file import Dataset
from readmission.errors import BadInputError
from readmission.evaluation import figures
from readmission.evaluation.importance import Importance, permutation_importance
from readmission.evaluation.learning_curves import Curve, learning_curve
from readmission.evaluation.metrics import Labels, Probabilities, decide
from readmission.evaluation.model_card import Findings, to_html, write_card
from readmission.export.artifacts import load_model
from readmission.export.onnx import export_onnx
from readmission.model_bundle import files as bundle
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.tracking import ANSWERS_NAME
from readmission.registry.versions import add_files, production_version
from readmission.results import Plan, Publication, Selection, TrainedModel
from readmission.services import Services
from readmission.settings import Settings
from readmission.training.model import FittedModel
from readmission.training.preparation import Arrays, to_arrays
from readmission.warehouse.clean import read_clean
from readmission.warehouse.connection import connect

CARD_PATH = "card"
MARKDOWN, HTML = "card.md", "card.html"


def log_card(
    client: MlflowClient, context: Context, plan: Plan, dataset: Dataset, selection: Selection, publication: Publication
) -> None:
    """Write the card of a run's winner and store it with its version; the learning curve also with the execution.

    Args:
        client: of the tracking server.
        context: of the execution.
        plan: names the execution's run.
        dataset: the training data.
        selection, publication: results of the run.
    """
    services = context.services
    with connect(services.clean_url) as clean:
        rows = read_clean(clean, "validation_clean")
    with tempfile.TemporaryDirectory() as scratch:
        model = load_model(client, services, selection.best.model_id, Path(scratch) / "model")
        arrays = to_arrays(model.encoder, rows)
        curves = list(_curves(client, services, selection, arrays, Path(scratch)))
        client.log_figure(plan.parent_run_id, figures.learning_figure(curves), "charts/learning_curve.png")
        importances = _importances(model, arrays)
        drawn = _draw(selection, model, arrays, curves, importances)
        found = Findings(
            name=context.settings.model_name,
            data={"data_source": dataset.source, "data_kind": dataset.kind},
            selection=selection,
            publication=publication,
            decision_rule=_rule(model.decision),
            curves=curves,
            importances=importances,
            figures={f"{name}.png": str(figure.axes[0].get_title()) for name, figure in drawn.items()},
        )
        folder = Path(scratch) / CARD_PATH
        _write(folder, found, drawn)
        add_files(client, context.settings.model_name, publication.version, folder, CARD_PATH)


def _curves(
    client: MlflowClient, services: Services, selection: Selection, arrays: Arrays, scratch: Path
) -> Iterator[Curve]:
    for model_type in sorted({model.model_type for model in selection.ranking}):
        models = [model for model in selection.ranking if model.model_type == model_type]
        models.sort(key=lambda model: model.rows)
        predictions = [_predictions(client, services, model, scratch) for model in models]
        yield learning_curve(model_type, [model.rows for model in models], predictions, arrays.labels, arrays.groups)


def _predictions(client: MlflowClient, services: Services, model: TrainedModel, scratch: Path) -> Labels:
    location = f"{client.get_logged_model(model.model_id).artifact_location}/{ANSWERS_NAME}"
    folder = scratch / model.model_id
    path = mlflow.artifacts.download_artifacts(location, dst_path=str(folder), tracking_uri=services.mlflow_url)
    predictions: Labels = np.load(path, allow_pickle=False)
    return predictions


def _importances(model: FittedModel, arrays: Arrays) -> tuple[Importance, ...]:
    """Predict with ONNX Runtime, which is ten times as fast as scikit-learn's forests."""
    exported = export_onnx(model.estimator, len(model.encoder.features))
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])

    def predict(matrix: np.ndarray) -> Probabilities:
        (probabilities,) = session.run([bundle.ONNX_PROBABILITIES], {bundle.ONNX_INPUT: np.ascontiguousarray(matrix)})
        whole = probabilities.astype(np.float64)
        normal: Probabilities = whole / whole.sum(axis=1, keepdims=True)
        return normal

    return permutation_importance(predict, model.encoder, arrays.matrix, arrays.labels)


def _draw(
    selection: Selection,
    model: FittedModel,
    arrays: Arrays,
    curves: list[Curve],
    importances: tuple[Importance, ...],
) -> dict[str, Figure]:
    probabilities = model.predict_matrix(arrays.matrix)
    predicted = decide(probabilities, model.decision)
    return {
        "learning_curve": figures.learning_figure(curves),
        "roc": figures.roc_figure(arrays.labels, probabilities),
        "precision_recall": figures.precision_figure(arrays.labels, probabilities),
        "calibration": figures.calibration_figure(arrays.labels, probabilities),
        "confusion": figures.confusion_figure(arrays.labels, predicted),
        "slices": figures.slices_figure(selection.slices),
        "importance": figures.importance_figure(importances),
    }


def _rule(decision: bundle.Decision) -> str:
    pairs = zip(decision.labels, decision.weights, decision.offsets, strict=True)
    terms = ", ".join(f"{label}: {weight:.3f} p - {offset:.3f}" for label, weight, offset in pairs)
    return f"{decision.rule}; the largest of {terms}"


def _write(folder: Path, found: Findings, drawn: Mapping[str, Figure]) -> None:
    folder.mkdir()
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=90)
    markdown = write_card(found)
    (folder / MARKDOWN).write_text(markdown)
    images = {f"{name}.png": (folder / f"{name}.png").read_bytes() for name in drawn}
    (folder / HTML).write_text(to_html(markdown, images))


def fetch_card(settings: Settings, services: Services, version: str | None, name: str = MARKDOWN) -> str:
    """Read the card of a version.

    Args:
        settings: hold the model's name.
        services: where the registry is.
        version: of the model; None: the one in production.
        name: ``card.md`` or ``card.html``.

    Raises:
        BadInputError: there is no such version, or it has no card.
    """
    with mlflow_errors(services), tempfile.TemporaryDirectory() as scratch:
        client = make_client(services)
        chosen = version or production_version(client, settings.model_name)
        if chosen is None:
            raise BadInputError(f"Nothing is in production of {settings.model_name}: name a version")
        try:
            source = client.get_model_version(settings.model_name, chosen).source
            path = mlflow.artifacts.download_artifacts(
                f"{source}/{CARD_PATH}/{name}", dst_path=scratch, tracking_uri=services.mlflow_url
            )
        except RestException as error:
            raise BadInputError(f"{settings.model_name} has no version {chosen}: {error.error_code}") from None
        except MlflowException:
            reason = "its run left it out (--no-report) or was cut short after publishing"
            raise BadInputError(f"Version {chosen} has no card: {reason}") from None
        return Path(path).read_text()
