"""Production and its log move together, also when a run is killed in between."""

import getpass
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from readmission.registry import promotion as moving
from readmission.registry.client import make_client
from readmission.registry.promotion import actor, finish_promotions, move_production
from readmission.registry.versions import create_version, production_version
from readmission.services import Services, resolve_services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.migrate import migrate
from readmission.warehouse.metadata.promotions import Promotion, log_promotion

Registry = tuple[Services, MlflowClient, str]


@pytest.fixture
def registry(new_platform: Callable[..., Settings], tmp_path: Path) -> Registry:
    """A registered model with two versions, none in production."""
    settings = new_platform()
    services = resolve_services(settings)
    migrate(services.platform_url)
    client = make_client(services)
    experiment = client.create_experiment(settings.experiment)
    (tmp_path / "file.txt").write_text("any")
    for number in ("1", "2"):
        run_id = client.create_run(experiment).info.run_id
        create_version(client, settings.model_name, run_id, tmp_path, {}, number)
    return services, client, settings.model_name


def to_version(name: str, version: str) -> Promotion:
    return Promotion(
        actor="somebody", model_name=name, from_version=None, to_version=version, decision="published", reasons=["why"]
    )


def rows(services: Services) -> list[tuple[str, str, bool]]:
    with connect(services.platform_url) as platform:
        found = platform.execute("SELECT to_version, decision, pending FROM promotions ORDER BY id").fetchall()
    return [(str(version), str(decision), bool(pending)) for version, decision, pending in found]


def test_alias_and_log_move_together(registry: Registry) -> None:
    services, client, name = registry
    move_production(client, services, to_version(name, "2"))
    assert production_version(client, name) == "2"
    assert rows(services) == [("2", "published", False)]


def test_what_was_cut_short_is_finished(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    services, client, name = registry
    with monkeypatch.context() as patch:
        patch.setattr(moving, "promote", _killed)
        with pytest.raises(KeyboardInterrupt):
            move_production(client, services, to_version(name, "1"))
    assert production_version(client, name) is None
    assert rows(services) == [("1", "published", True)]
    finish_promotions(services)
    assert production_version(client, name) == "1"
    finish_promotions(services)
    assert rows(services) == [("1", "published", False)]


def test_a_version_that_is_gone_blocks_nobody(registry: Registry) -> None:
    services, client, name = registry
    with connect(services.platform_url) as platform:
        log_promotion(platform, to_version(name, "99"), pending=True)
    finish_promotions(services)
    assert production_version(client, name) is None
    assert rows(services) == [("99", "failed", False)]


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", _nameless)
    assert actor().startswith("uid ")


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def _nameless() -> str:
    raise OSError("No username set in the environment")
