"""Promote a version by hand, or roll production back to the version before."""

from mlflow import MlflowClient
from mlflow.exceptions import RestException

from readmission.errors import BadInputError
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.promotion import actor, move_production
from readmission.registry.versions import production_version
from readmission.results import Move
from readmission.services import Services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.migrate import migrate
from readmission.warehouse.metadata.promotions import Promotion, version_before


def promote_by_hand(settings: Settings, services: Services, version: str, reason: str) -> Move:
    """Point production at a registered version, whatever the promotion gate decided.

    Args:
        settings: hold the model's name.
        services: where registry and promotion log are.
        version: to become production.
        reason: for the promotion log.

    Raises:
        BadInputError: there is no such version, or it is in production already.
    """
    migrate(services.platform_url)
    with mlflow_errors(services):
        client = make_client(services)
        return _move(client, settings, services, version, "promoted", reason)


def roll_back(settings: Settings, services: Services, reason: str) -> Move:
    """Point production at the version that was in production before the current one.

    Raises:
        BadInputError: there is no current or no earlier version.
    """
    migrate(services.platform_url)
    with mlflow_errors(services):
        client = make_client(services)
        present = production_version(client, settings.model_name)
        if present is None:
            raise BadInputError(f"Nothing is in production of {settings.model_name}: there is nothing to roll back")
        with connect(services.platform_url) as platform:
            before = version_before(platform, settings.model_name, present)
        if before is None:
            raise BadInputError(f"Version {present} is the first in production: there is nothing before it")
        return _move(client, settings, services, before, "rolled back", reason)


def _move(
    client: MlflowClient, settings: Settings, services: Services, version: str, decision: str, reason: str
) -> Move:
    name = settings.model_name
    _require_version(client, name, version)
    present = production_version(client, name)
    if present == version:
        raise BadInputError(f"Version {version} is in production already")
    promotion = Promotion(
        actor=actor(),
        model_name=name,
        from_version=present,
        to_version=version,
        decision=decision,
        reasons=[reason or "by hand"],
    )
    move_production(client, services, promotion)
    return Move(from_version=present, to_version=version, decision=decision)


def _require_version(client: MlflowClient, name: str, version: str) -> None:
    try:
        client.get_model_version(name, version)
    except RestException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        known = ", ".join(str(found.version) for found in client.search_model_versions(f"name = '{name}'"))
        raise BadInputError(f"{name} has no version {version}; there are: {known or 'none'}") from None
