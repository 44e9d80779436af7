"""Shared fixtures: a running local stack and the real source file."""

import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck

from free_ports import free_ports
from readmission.local.stack import LocalStack
from readmission.services import Services, resolve_services
from readmission.settings import PREFIX, Settings

REPOSITORY = Path(__file__).resolve().parents[1]
CSV_NAME = "diabetic_data.csv"
SOURCE_FILE = os.environ.get("READMISSION_DATA")
"""The real data, where the caller keeps it elsewhere; read before the caller's settings are removed."""

pytest_plugins = ["pipeline_fixtures", "timing", "groups"]

# Threads of a fit that wait in a loop take the cores from tests beside it, which takes ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A shell ignores Ctrl-C for what it starts in the background, and all that is started from there inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing of the code on a machine that does other things too; and a fixture that holds a
# server or a folder for all examples of a test is meant so. Where CI is set, Hypothesis draws the same examples always.
hypothesis.settings.register_profile(
    "readmission",
    hypothesis.settings(
        deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    ),
)
hypothesis.settings.load_profile("readmission")

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


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_caller() -> Iterator[None]:
    """Nothing that the caller has set reaches a test: each says itself what it needs."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # or what tests start would be deaf to Ctrl-C
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        yield


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
    settings = settings_of_own(tmp_path_factory.mktemp("stack") / "home", start_timeout=240)
    with LocalStack(settings):
        yield settings


@pytest.fixture(scope="session")
def services(stack: Settings) -> Services:
    return resolve_services(stack)


@pytest.fixture(scope="session")
def real_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real source file, unpacked."""
    source = Path(SOURCE_FILE or REPOSITORY.parent / "shared" / "data" / "dataset_diabetes.zip")
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
