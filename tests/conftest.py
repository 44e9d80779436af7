"""Shared fixtures: a running local stack and the real source file."""

import os
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from readmission.local.stack import LocalStack
from readmission.services import Services, resolve_services
from readmission.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[1]
CSV_NAME = "diabetic_data.csv"

pytest_plugins = ["pipeline_fixtures"]

INNER_OFFSET = 10_000
PORT_FIELDS = (
    "postgres_port",
    "s3_port",
    "s3_admin_port",
    "s3_master_port",
    "s3_volume_port",
    "s3_filer_port",
    "mlflow_port",
    "api_port",
)


def is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that are free together with their partner 10,000 higher, on which the S3 server listens too."""
    # Both below 32,768, where the kernel's ports for clients begin; sessions side by side start at different places.
    start = 11_000 + (os.getpid() * 61) % 10_000
    found: list[int] = []
    for port in (*range(start, 22_000), *range(11_000, start)):
        if is_free(port) and is_free(port + INNER_OFFSET):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


def settings_of_own(home: Path, **overrides: object) -> Settings:
    ports = dict(zip(PORT_FIELDS, free_ports(len(PORT_FIELDS)), strict=True))
    return Settings.model_validate({"home": home, **ports, **overrides})


@pytest.fixture(scope="session")
def new_settings() -> Callable[..., Settings]:
    """Makes settings for a stack of its own: ``new_settings(home, **overrides)``, with free ports."""
    return settings_of_own


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """PostgreSQL, S3 and MLflow, running for the whole session."""
    settings = settings_of_own(tmp_path_factory.mktemp("stack") / "home")
    with LocalStack(settings):
        yield settings


@pytest.fixture(scope="session")
def services(stack: Settings) -> Services:
    return resolve_services(stack)


@pytest.fixture(scope="session")
def real_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real source file, unpacked."""
    source = Path(os.environ.get("READMISSION_DATA") or REPOSITORY.parent / "shared" / "data" / "dataset_diabetes.zip")
    if not source.is_file():
        reason = "the real data is missing: set READMISSION_DATA to its CSV or zip file"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    if source.suffix == ".csv":
        return source
    with zipfile.ZipFile(source) as archive:
        member = next(name for name in archive.namelist() if Path(name).name == CSV_NAME)
        return Path(archive.extract(member, tmp_path_factory.mktemp("data")))
