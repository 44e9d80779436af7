"""The MLflow client; its failures become one plain line."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from readmission.errors import ServiceDownError
from readmission.services import Services


def make_client(services: Services) -> MlflowClient:
    """Create a client of the tracking server."""
    return MlflowClient(tracking_uri=services.mlflow_url, registry_uri=services.mlflow_url)


@contextmanager
def mlflow_errors(services: Services) -> Iterator[None]:
    """Convert MLflow's connection errors to one plain line.

    Raises:
        ServiceDownError: the tracking server does not answer or answers with an error.
    """
    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        raise ServiceDownError(
            f"MLflow at {services.mlflow_url}: {_reason(error)}; see `readmission doctor`"
        ) from error


def _reason(error: Exception) -> str:
    """Shorten MLflow's message, which repeats the request and the HTTP client's last error."""
    text = str(error)
    if "Max retries exceeded" not in text:
        return text.splitlines()[0][:200]
    if "error responses" in text:
        return "it answers with errors, so its database or artifact store may be down"
    return "the server does not answer"
