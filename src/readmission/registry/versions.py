"""Versions of the registered model: create one from a run's bundle, and point production at it."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

ALIAS = "production"
BUNDLE_PATH = "bundle"


def production_version(client: MlflowClient, name: str) -> str | None:
    """Version with the alias ``production``; None if there is none."""
    try:
        return str(client.get_model_version_by_alias(name, ALIAS).version)
    except RestException as error:
        # If the model exists but has no such alias, MLflow reports an invalid parameter, not a missing resource.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def create_version(
    client: MlflowClient, name: str, run_id: str, folder: Path, tags: Mapping[str, str], description: str
) -> str:
    """Upload a bundle to its run and register it; return the new version, or the one that the run has already.

    Args:
        client: of the registry.
        name: registered model; created if it does not exist.
        run_id: the run that trained it.
        folder: the bundle.
        tags: of the version.
        description: of the version.
    """
    _ensure_model(client, name)
    found = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
    if found:
        return str(found[0].version)
    client.log_artifacts(run_id, str(folder), BUNDLE_PATH)
    source = f"runs:/{run_id}/{BUNDLE_PATH}"
    version = client.create_model_version(
        name, source, run_id=run_id, tags=dict(tags), description=description, await_creation_for=0
    )
    return str(version.version)


def add_files(client: MlflowClient, name: str, version: str, folder: Path, subfolder: str) -> None:
    """Store more files with a version, below its bundle."""
    run_id = client.get_model_version(name, version).run_id
    client.log_artifacts(str(run_id), str(folder), f"{BUNDLE_PATH}/{subfolder}")


def promote(client: MlflowClient, name: str, version: str) -> None:
    """Point ``production`` at a version. The alias is decisive; the deprecated stage is set too, for older clients."""
    client.set_registered_model_alias(name, ALIAS, version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated, but requested
        client.transition_model_version_stage(name, version, "Production", archive_existing_versions=True)


def _ensure_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name, description="Readmission of diabetes patients: NO, >30 or <30 days")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
