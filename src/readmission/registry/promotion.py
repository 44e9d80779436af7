"""Change the production version: the promotion log first, then the alias; an interrupted change is finished later."""

import getpass
import os

from mlflow import MlflowClient
from mlflow.exceptions import RestException

from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.versions import promote
from readmission.services import Services
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.promotions import Promotion, end_promotion, log_promotion, pending_promotions


def actor() -> str:
    """The OS user of this process, or its number if it has no name (in a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12
        return f"uid {os.getuid()}"


def move_production(client: MlflowClient, services: Services, promotion: Promotion) -> None:
    """Point production at ``promotion.to_version``.

    If the process is killed in between, the log row stays pending and ``finish_promotions`` does the rest.
    """
    with connect(services.platform_url) as platform:
        number = log_promotion(platform, promotion, pending=True)
    _move(client, services, number, promotion)


def finish_promotions(services: Services) -> None:
    """Finish promotions that an earlier run started and did not complete."""
    with connect(services.platform_url) as platform:
        pending = pending_promotions(platform)
    if not pending:
        return
    with mlflow_errors(services):
        client = make_client(services)
        for number, promotion in pending.items():
            _move(client, services, number, promotion)


def _move(client: MlflowClient, services: Services, number: int, promotion: Promotion) -> None:
    decision = promotion.decision
    try:
        promote(client, promotion.model_name, promotion.to_version)
    except RestException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        decision = "failed"  # the version was deleted in the meantime
    with connect(services.platform_url) as platform:
        end_promotion(platform, number, decision)
