"""Check that MLflow works, without importing its client, which takes seconds."""

import httpx

from readmission.errors import ServiceDownError
from readmission.services import Services

_SECONDS = 10.0


def require_mlflow(services: Services) -> None:
    """Check once, without retries, that MLflow and its database answer.

    Raises:
        ServiceDownError: they do not answer.
    """
    url = f"{services.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        httpx.get(url, timeout=_SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error).splitlines()[0]
        raise ServiceDownError(f"MLflow at {services.mlflow_url}: {reason}; see `readmission doctor`") from error
