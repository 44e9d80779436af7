"""Fixtures of the API's tests: bundles made once, and the application in several states."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from faulty_mlflow import FaultyMlflow
from running_api import NOWHERE, calling, put_in_cache
from serving_bundle import MadeBundle, make_bundle
from starlette.types import ASGIApp

from readmission.serving.app import create_app
from readmission.settings import Settings
from readmission.warehouse.metadata.migrate import migrate


@pytest.fixture(scope="session")
def tree_bundle(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tree", "decision_tree", seed=1)


@pytest.fixture(scope="session")
def linear_bundle(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "linear", "logistic_regression", seed=5)


@pytest.fixture
def copied_bundle(tree_bundle: MadeBundle, tmp_path: Path) -> Path:
    """A bundle folder of one's own, to break."""
    return Path(shutil.copytree(tree_bundle.folder, tmp_path / "copied"))


@pytest.fixture
def mlflow() -> Iterator[FaultyMlflow]:
    with FaultyMlflow() as server:
        yield server


@pytest.fixture(scope="session")
def served_app(tree_bundle: MadeBundle, tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    home = tmp_path_factory.mktemp("served")
    put_in_cache(home, tree_bundle.folder, "7")
    return create_app(Settings(home=home, mlflow_url=NOWHERE, model_poll_seconds=3600))


@pytest.fixture(scope="session")
def client(served_app: ASGIApp) -> Iterator[httpx.Client]:
    """The API with version 7 loaded from disk and MLflow down."""
    with calling(served_app) as client:
        yield client


@pytest.fixture
def empty_client(tmp_path: Path) -> Iterator[httpx.Client]:
    """The API without any model."""
    with calling(create_app(Settings(home=tmp_path, mlflow_url=NOWHERE))) as client:
        yield client


@pytest.fixture
def platform(new_platform: Callable[..., Settings]) -> Settings:
    """Settings that lead to empty databases, migrated."""
    settings = new_platform()
    assert settings.platform_database_url is not None
    migrate(settings.platform_database_url)
    return settings
