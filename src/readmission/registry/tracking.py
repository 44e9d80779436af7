"""Runs in MLflow: one parent run per execution, one child run per model, with metrics, lineage and the model."""

import json
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import BAD_REQUEST, RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID

from readmission.export.artifacts import save_model
from readmission.features.rules import FEATURE_TYPES
from readmission.results import TrainedModel, TrainingConfig
from readmission.schema import LABEL_COLUMN
from readmission.training.estimators import shown_params
from readmission.training.fitting import Fit
from readmission.training.preparation import PreparedSet

EXECUTION_TAG = "readmission.execution"
SUPERSEDED_TAG = "superseded"
MODEL_NAME = "model"
ANSWERS_NAME = "validation_answers.npy"
"""File beside each stored model: its predictions for the validation rows, for comparisons on the same rows."""


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Find or create the experiment, also where another process creates it at the same time; return its id."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)
            if found is None or error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
    return str(found.experiment_id)


def end_stale_runs(client: MlflowClient, experiment_id: str, execution: str) -> int:
    """Mark running runs of other executions as killed: only one pipeline runs at a time, so they were interrupted.

    Returns:
        number of runs.
    """
    query = f"attributes.status = 'RUNNING' AND tags.`{EXECUTION_TAG}` != '{execution}'"
    return _end_runs(client, experiment_id, query, RunStatus.KILLED)


def fail_runs(client: MlflowClient, experiment: str, execution: str) -> int:
    """Mark the running runs of an execution as failed; return their number."""
    found = client.get_experiment_by_name(experiment)
    query = f"attributes.status = 'RUNNING' AND tags.`{EXECUTION_TAG}` = '{execution}'"
    return _end_runs(client, str(found.experiment_id), query, RunStatus.FAILED) if found else 0


def supersede_runs(client: MlflowClient, experiment_id: str, execution: str, *sets: int) -> int:
    """Mark the runs of an earlier try to train the same sets as superseded, and end those that are still running.

    Args:
        client: of the tracking server.
        experiment_id: of the experiment.
        execution: its name.
        sets: numbers of the cumulative sets.

    Returns:
        number of runs.
    """
    query = f"tags.`{EXECUTION_TAG}` = '{execution}' AND tags.role = 'model'"
    starts = tuple(_run_name(cumulative_idx, "") for cumulative_idx in sets)
    # Compared here, since an underscore in MLflow's LIKE matches any character: set 1 would match 10 to 19 too.
    runs = [run for run in client.search_runs([experiment_id], query) if run.info.run_name.startswith(starts)]
    for run in runs:
        client.set_tag(run.info.run_id, SUPERSEDED_TAG, "true")
        if run.info.status == RunStatus.to_string(RunStatus.RUNNING):
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))
    return len(runs)


def _run_name(cumulative_idx: int, model_type: str) -> str:
    return f"cumulative_{cumulative_idx}_{model_type}"


def _end_runs(client: MlflowClient, experiment_id: str, query: str, status: int) -> int:
    runs = client.search_runs([experiment_id], query)
    for run in runs:
        client.set_terminated(run.info.run_id, RunStatus.to_string(status))
    return len(runs)


def start_parent(client: MlflowClient, experiment_id: str, execution: str, tags: Mapping[str, str]) -> str:
    """Start the parent run of an execution, or find it if the stage is repeated; return its id."""
    query = f"tags.`{EXECUTION_TAG}` = '{execution}' AND tags.role = 'execution'"
    found = client.search_runs([experiment_id], query, ViewType.ACTIVE_ONLY, max_results=1)
    if found:
        return str(found[0].info.run_id)
    every = {**tags, EXECUTION_TAG: execution, "role": "execution"}
    return str(client.create_run(experiment_id, tags=every, run_name=f"execution_{execution}").info.run_id)


def log_fit(
    client: MlflowClient,
    experiment_id: str,
    parent: tuple[str, str],
    config: TrainingConfig,
    model_type: str,
    prepared: PreparedSet,
    fit: Fit,
    tags: Mapping[str, str],
) -> TrainedModel:
    """Log one fitted model as a child run.

    Args:
        client: of the tracking server.
        experiment_id: of the experiment.
        parent: name of the execution and id of its run.
        config: the cumulative set.
        model_type: of the estimator.
        prepared: the set's arrays, for lineage.
        fit: model and metrics.
        tags: of the execution, repeated on the child.
    """
    execution, parent_run_id = parent
    name = _run_name(config.cumulative_idx, model_type)
    every = {**tags, EXECUTION_TAG: execution, "role": "model", MLFLOW_PARENT_RUN_ID: parent_run_id}
    run_id = str(client.create_run(experiment_id, tags=every, run_name=name).info.run_id)
    n_features = len(prepared.encoder.features)
    params = {
        "model_type": model_type,
        "cumulative_idx": str(config.cumulative_idx),
        "n_features": str(n_features),
        "n_samples": str(prepared.rows),
        **shown_params(fit.model.estimator),
    }
    _log_figures(client, run_id, params, fit.metrics)
    log_lineage(client, run_id, config, prepared, tags)
    model_id = _log_model(client, experiment_id, run_id, f"{MODEL_NAME}_{name}", model_type, fit)
    client.set_terminated(run_id)
    return TrainedModel(
        run_id=run_id,
        model_id=model_id,
        model_type=model_type,
        cumulative_idx=config.cumulative_idx,
        rows=prepared.rows,
        n_features=n_features,
        trained_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        fit_seconds=fit.metrics["fit_seconds"],
        metrics={key: value for key, value in fit.metrics.items() if value == value},  # NaN is not valid JSON
    )


def log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    """Log metrics in one request."""
    _log_figures(client, run_id, {}, metrics)


def _log_figures(client: MlflowClient, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in metrics.items() if value == value],
        params=[Param(name, value) for name, value in params.items()],
    )


_COLUMN_TYPES = {"text": "string", "integer": "integer"}
"""MLflow's names (``mlflow.types.DataType``) for the types of the clean tables."""


def log_lineage(
    client: MlflowClient, run_id: str, config: TrainingConfig, prepared: PreparedSet, tags: Mapping[str, str]
) -> None:
    """Log the set that a model was trained on, also while another process logs the same set for another model.

    MLflow looks for a dataset and then adds it: of two at once, the second gets the refusal of a duplicate, and finds
    the dataset of the first when it asks again.
    """
    used = _lineage(config, prepared, tags)
    try:
        client.log_inputs(run_id, [used])
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(BAD_REQUEST):
            raise
        client.log_inputs(run_id, [used])


def _lineage(config: TrainingConfig, prepared: PreparedSet, tags: Mapping[str, str]) -> DatasetInput:
    types = {**FEATURE_TYPES, LABEL_COLUMN: "text"}
    columns = [{"name": name, "type": _COLUMN_TYPES[dtype], "required": False} for name, dtype in types.items()]
    dataset = Dataset(
        name=config.view,
        digest=prepared.digest,
        source_type="postgresql",
        source=json.dumps({"database": "clean_data_db", "view": config.view, **tags}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": prepared.rows}),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


def _log_model(client: MlflowClient, experiment_id: str, run_id: str, name: str, model_type: str, fit: Fit) -> str:
    """Store the model with signature and example; return its id.

    ``mlflow.sklearn.log_model`` would do so only for the global active run.
    """
    logged = client.create_logged_model(experiment_id, name=name, source_run_id=run_id, model_type=model_type)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / MODEL_NAME
        identity = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
        save_model(fit.model, folder, identity)
        np.save(folder / ANSWERS_NAME, fit.predictions)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id)


def end_parent(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Tag the run of an execution and end it."""
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    client.set_terminated(run_id)
