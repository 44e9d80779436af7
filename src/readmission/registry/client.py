"""The MLflow client, its failures as one line for people."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from readmission.errors import ServiceDownError
from readmission.services import Services


def make_client(services: Services) -> MlflowClient:
    """Make a client of the tracking server."""
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
