"""The MLflow client, its failures as one line for people."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from readmission.errors import ServiceDownError
from readmission.services import Services

# MLflow's own defaults retry for minutes before they say that nobody answers.
_CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def make_client(services: Services) -> MlflowClient:
    """Make a client of the tracking server; MLflow reads these of its settings from the environment only."""
    for name, value in _CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    return MlflowClient(tracking_uri=services.mlflow_url, registry_uri=services.mlflow_url)


@contextmanager
def mlflow_errors(services: Services) -> Iterator[None]:
    """Turn "nobody answers" into one line.

    Raises:
        ServiceDownError: the tracking server does not answer or answers with an error.
    """
    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        reason = str(error).splitlines()[0][:200]
        raise ServiceDownError(f"MLflow at {services.mlflow_url}: {reason}; see `readmission doctor`") from error
