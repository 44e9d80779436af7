"""Wait until the API serves the version in production."""

import time

import httpx

from readmission.errors import ReadmissionError
from readmission.mlflow_rest import MlflowRest
from readmission.orchestration.answers import Answer
from readmission.services import resolve_services
from readmission.settings import load_settings

FOLLOW_SECONDS = 120.0
"""The API looks for a new version every few seconds; then it fetches and checks it."""


def follow(patience: float = FOLLOW_SECONDS) -> Answer:
    """Wait until the API serves the version in production: after a refused publish it is the one before, or none.

    Args:
        patience: seconds.

    Raises:
        ReadmissionError: it serves something else, or nothing, for so long.
    """
    settings = load_settings()
    registry = MlflowRest(resolve_services(settings).mlflow_url)
    address = settings.api_url or f"http://127.0.0.1:{settings.api_port}"
    started = time.monotonic()
    while True:
        production = registry.production_version(settings.model_name)
        if production is None:
            return {"version": None, "seconds": 0.0}
        version, found = production.version, _served_version(address)
        if found == version:
            return {"version": version, "seconds": round(time.monotonic() - started, 1)}
        if time.monotonic() - started > patience:
            raise ReadmissionError(
                f"The API at {address} serves version {found}, not {version}, which is in production;"
                f" waited {patience:.0f} s"
            )
        time.sleep(1)


def _served_version(address: str) -> str:
    try:
        answer = httpx.get(f"{address}/ready", timeout=5, trust_env=False)
        return str(answer.json().get("model_version", "nothing"))
    except (httpx.HTTPError, ValueError):
        return "nothing (no answer)"
