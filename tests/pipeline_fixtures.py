"""A platform of one's own on the session's stack, its command line, and one finished run that many tests look at."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from command_line import CommandLine, Outcome
from readmission.dataset.synthetic.records import write_synthetic
from readmission.local.proxies import past_proxies
from readmission.orchestration.process_pool import worker_pool
from readmission.results import CHALLENGERS, MODEL_TYPES, Aim
from readmission.services import Services, local_credentials
from readmission.settings import Settings

if TYPE_CHECKING:  # heavy: only tests that fit a model wait for it
    from readmission.training.fitting import Fit
    from training_sets import SmallSet

OWNERS = {"raw": "rawdata_user", "clean": "cleandata_user", "platform": "platform_user"}
ROWS = 6_000


@pytest.fixture(scope="session")
def new_platform(
    stack: Settings, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Settings]]:
    """Makes settings with empty databases, experiment, model name and home of their own; the servers are shared.

    The databases go with the server at the end of the session: to drop one takes it a checkpoint, up to a second.
    """
    password = local_credentials(stack)["postgres"]
    superuser = f"postgresql://postgres:{password}@127.0.0.1:{stack.postgres_port}/postgres"
    with psycopg.connect(superuser, autocommit=True) as connection:

        def make(**changes: object) -> Settings:
            mark = secrets.token_hex(4)
            urls = {}
            for kind, owner in OWNERS.items():
                name = f"own_{kind}_{mark}"
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
                )
                shared: SecretStr = getattr(services, f"{kind}_url")
                urls[f"{kind}_database_url"] = f"{shared.get_secret_value().rpartition('/')[0]}/{name}"
            chosen = {
                **urls,
                "home": tmp_path_factory.mktemp("platform") / "home",
                "mlflow_url": services.mlflow_url,
                "s3_url": services.s3_url,
                "s3_access_key": services.s3_access_key,
                "s3_secret_key": services.s3_secret_key,
                "experiment": f"experiment_{mark}",
                "model_name": f"model_{mark}",
                "workers": 2,
            }
            return Settings.model_validate({**chosen, **changes})

        yield make


@pytest.fixture(scope="session")
def platform(new_platform: Callable[[], Settings]) -> Settings:
    """The platform of the finished run; look, but change nothing."""
    return new_platform()


@pytest.fixture(scope="session")
def finished(platform: Settings) -> Outcome:
    """One run of the whole pipeline as a user starts it: two sets, all four types, synthetic records."""
    outcome = CommandLine(platform).run("pipeline", "run", "--data", f"synthetic:{ROWS}", "--batches", "2", "--json")
    assert outcome.code == 0, outcome.stderr
    return outcome


@pytest.fixture(scope="session")
def training_server() -> Iterator[None]:
    """The server that training processes fork from, with everything loaded once for all ``CommandLine.invoke``."""
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in past_proxies(os.environ).items():  # its processes ask services of this machine
                patch.setenv(name, value)
            running.enter_context(worker_pool(1))
        yield


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic records in the source's format."""
    path = tmp_path_factory.mktemp("small") / "small.csv"
    write_synthetic(path, 3_000, seed=7)
    return path


@pytest.fixture(scope="session")
def small_set(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> "SmallSet":
    """Its rows as arrays, as training gets them."""
    from training_sets import make_set, read_raw

    raw = read_raw(small_file)
    return make_set(raw.iloc[:2200], raw.iloc[2200:].reset_index(drop=True), tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="session")
def fits(small_set: "SmallSet") -> dict[str, "Fit"]:
    """Every type of model, fitted on it."""
    from readmission.training.fitting import fit

    return {model_type: fit(small_set.prepared, model_type, Aim()) for model_type in (*MODEL_TYPES, *CHALLENGERS)}
