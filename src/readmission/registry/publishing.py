"""Publish the winner: check its ONNX export, register the bundle, point production at it, and log the decision."""

from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from psycopg import sql

from readmission.context import Context
from readmission.dataset.source_file import Dataset
from readmission.evaluation.metrics import decide
from readmission.export.artifacts import Bundle, load_model, prove_parity, write_bundle
from readmission.export.explanation import explanation
from readmission.export.onnx import export_onnx
from readmission.export.reference import reference
from readmission.model_bundle.files import METADATA_FILE, Metadata, SelfTest
from readmission.registry.client import make_client
from readmission.registry.gating import Challenger, Verdict, judge
from readmission.registry.promotion import actor, move_production
from readmission.registry.tracking import log_metrics
from readmission.registry.versions import create_version, production_version
from readmission.results import Publication, Selection
from readmission.schema import LABELS, RECORD_COLUMNS
from readmission.services import Services
from readmission.training.model import FittedModel
from readmission.training.preparation import to_arrays
from readmission.warehouse.clean import read_clean
from readmission.warehouse.connection import connect, statement
from readmission.warehouse.metadata.promotions import Promotion, log_promotion

SELFTEST_ROWS = 32


def publish_model(
    context: Context, dataset: Dataset, assignment: str, selection: Selection, scratch: Path
) -> Publication:
    """Register the winner of a selection, and point production at it if the promotion gate lets it pass.

    Args:
        context: of the execution.
        dataset: its training data.
        assignment: name of the split assignment that it was trained with.
        selection: the winner with its metrics.
        scratch: an empty folder.

    Raises:
        ReadmissionError: the ONNX export differs from the fitted model.
    """
    client = make_client(context.services)
    name = context.settings.model_name
    challenger = _load(context, client, selection, assignment, scratch / "model")
    difference = _write(context, dataset, selection, challenger, scratch / "bundle")
    log_metrics(client, selection.best.run_id, {"onnx_parity_max_difference": difference})
    previous = production_version(client, name)
    tags = {"execution": context.execution, **_tags(dataset, selection)}
    version = create_version(
        client, name, selection.best.run_id, scratch / "bundle", tags, _description(dataset, selection)
    )
    verdict = Verdict(())
    if previous != version:  # repeating the stage changes nothing
        verdict = judge(context, client, dataset, selection, challenger, previous, scratch / "champion")
        _carry_out(context, client, verdict, selection, previous, version)
    return Publication(
        version=version,
        previous=previous,
        decision="refused" if verdict.against else "published",
        reasons=verdict.against or _merits(context, selection),
        parity_max_difference=difference,
        f1_difference=verdict.difference,
        model=selection.best,
    )


def _load(context: Context, client: MlflowClient, selection: Selection, assignment: str, folder: Path) -> Challenger:
    model = load_model(client, context.services, selection.best.model_id, folder)
    with connect(context.services.clean_url) as clean:
        rows = read_clean(clean, "validation_clean")
    arrays = to_arrays(model.encoder, rows)
    return Challenger(model, rows, arrays, model.predict_matrix(arrays.matrix), assignment)


def _carry_out(
    context: Context,
    client: MlflowClient,
    verdict: Verdict,
    selection: Selection,
    previous: str | None,
    version: str,
) -> None:
    """Change production or leave it, and record the reasons in the promotion log and at the version."""
    decision = "refused" if verdict.against else "published"
    promotion = Promotion(
        actor=actor(),
        model_name=context.settings.model_name,
        from_version=previous,
        to_version=version,
        decision=decision,
        reasons=list(verdict.against or _merits(context, selection)),
        execution=context.execution,
    )
    for key, value in {"decision": decision, "reasons": "; ".join(promotion.reasons)}.items():
        client.set_model_version_tag(context.settings.model_name, version, key, value)
        client.set_tag(selection.best.run_id, key, value)
    if verdict.against:
        with connect(context.services.platform_url) as platform:
            log_promotion(platform, promotion)
    else:
        move_production(client, context.services, promotion)


def _merits(context: Context, selection: Selection) -> tuple[str, ...]:
    return (f"highest validation F1 of {len(selection.ranking)} models in execution {context.execution}",)


def _write(context: Context, dataset: Dataset, selection: Selection, challenger: Challenger, folder: Path) -> float:
    """Write the bundle; return the largest difference of ONNX and the fitted model over all validation rows."""
    model = challenger.model
    with connect(context.services.clean_url) as clean:
        train = read_clean(clean, f"train_cumulative_{selection.best.cumulative_idx}")
    onnx_model = export_onnx(model.estimator, len(model.encoder.features))
    difference = prove_parity(model, onnx_model, challenger.arrays.matrix)
    files = Bundle(
        model=model,
        onnx_model=onnx_model,
        explanation=explanation(model.estimator, to_arrays(model.encoder, train).matrix),
        reference=reference(train, challenger.probabilities),
        selftest=_selftest(context.services, model),
        metadata=_metadata(context, dataset, selection, challenger, difference),
    )
    write_bundle(folder, files)
    return difference


def _selftest(services: Services, model: FittedModel) -> SelfTest:
    """Raw rows with the fitted model's predictions, which the API must reproduce before it uses the model."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in RECORD_COLUMNS)
    query = statement(
        "SELECT {columns} FROM validation_raw ORDER BY row_id LIMIT {rows}",
        columns=columns,
        rows=sql.Literal(SELFTEST_ROWS),
    )
    with connect(services.raw_url) as raw:
        rows = raw.execute(query).fetchall()
    records = pd.DataFrame(rows, columns=[column.name for column in RECORD_COLUMNS])
    probabilities = model.predict_proba(records)
    labels = np.array(LABELS)[decide(probabilities, model.decision)]
    return SelfTest(
        records=tuple({str(name): str(value) for name, value in row.items()} for row in records.to_dict("records")),
        probabilities=tuple(tuple(row) for row in probabilities.tolist()),
        labels=tuple(labels.tolist()),
    )


def _metadata(
    context: Context, dataset: Dataset, selection: Selection, challenger: Challenger, difference: float
) -> Metadata:
    best = selection.best
    return Metadata(
        name=context.settings.model_name,
        run_id=best.run_id,
        model_type=best.model_type,
        cumulative_idx=best.cumulative_idx,
        train_rows=best.rows,
        trained_at=best.trained_at,
        data_source=dataset.source,
        data_kind=dataset.kind,
        data_sha256=dataset.sha256,
        data_fallback=dataset.fallback,
        assignment=challenger.assignment,
        features=challenger.model.encoder.names,
        metrics={**best.metrics, **selection.metrics},
        parity_max_difference=difference,
    )


def _tags(dataset: Dataset, selection: Selection) -> dict[str, str]:
    best = selection.best
    tags = {
        "model_type": best.model_type,
        "cumulative_idx": str(best.cumulative_idx),
        "train_rows": str(best.rows),
        "data_source": dataset.source,
        "data_kind": dataset.kind,
        "data_sha256": dataset.sha256,
        "val_f1_score": f"{selection.metrics['val_f1_score']:.4f}",
        "val_accuracy": f"{selection.metrics['val_accuracy']:.4f}",
        "test_f1_score": f"{selection.metrics['test_f1_score']:.4f}",
        "metadata_file": METADATA_FILE,
    }
    return {**tags, "data_fallback": dataset.fallback} if dataset.fallback else tags


def _description(dataset: Dataset, selection: Selection) -> str:
    best = selection.best
    synthetic = " SYNTHETIC DATA, not for use on patients." if dataset.kind == "synthetic" else ""
    return (
        f"Model type: {best.model_type}. Trained on {best.rows:,} rows (batches 0 to {best.cumulative_idx}) of"
        f" {dataset.source}.{synthetic} Validation F1 score: {selection.metrics['val_f1_score']:.4f}. Validation"
        f" accuracy: {selection.metrics['val_accuracy']:.4f}. Trained at: {best.trained_at}."
    )
