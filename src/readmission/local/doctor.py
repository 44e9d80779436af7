"""Check this machine and every service, with advice: ``readmission doctor``."""

import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from readmission.errors import ReadmissionError
from readmission.local.lock import is_locked
from readmission.local.ports import LOOPBACK
from readmission.local.s3 import s3_client
from readmission.mlflow_rest import ALIAS, MlflowRest
from readmission.services import resolve_services
from readmission.settings import Settings

PYTHON_FIRST, PYTHON_END = (3, 11), (3, 14)
NEEDED_BYTES = 2_000_000_000

_SECONDS = 2
_START = "start it with `make run` or `make stack`"

# The errors of a probe: the service is down, refuses the login, answers nonsense, or its address is malformed.
_FAILURES = (ReadmissionError, psycopg.Error, httpx.HTTPError, httpx.InvalidURL, BotoCoreError, ClientError, OSError)


class _Ready(BaseModel):
    """The response of the API's ``/ready``."""

    model_version: str


class Check(BaseModel):
    """One finding; ``advice`` is empty if ``ok``."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    detail: str
    advice: str = ""


def examine(settings: Settings) -> list[Check]:
    """Check this machine and every service; takes about two seconds at most and never raises.

    Args:
        settings: where state and services are.

    Returns:
        the findings, in the order in which problems should be solved.
    """
    probes: list[tuple[str, Callable[[Settings], str], str]] = [
        ("Python", _python, "use Python 3.11, 3.12 or 3.13"),
        ("State folder", _home, "make it writable, or set READMISSION_HOME to another folder"),
        ("Free disk", _disk, "free at least 2 GB, or set READMISSION_HOME to a folder on another disk"),
        ("PostgreSQL", _databases, _START),
        ("S3", _objects, _START),
        ("MLflow", _mlflow, _START),
        ("API", _api, "start it with `make run`"),
        ("Served model", _served, "the API loads the production model within seconds; if not, see its log, api.log"),
        ("Cached data", _data, "fetch it with `readmission pipeline download`"),
        ("Production model", _model, "train and publish one with `make run`"),
    ]
    with ThreadPoolExecutor(len(probes)) as pool:
        return list(pool.map(lambda probe: _check(settings, *probe), probes))


def _check(settings: Settings, name: str, probe: Callable[[Settings], str], advice: str) -> Check:
    try:
        return Check(name=name, ok=True, detail=probe(settings))
    except (*_FAILURES, ValueError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Check(name=name, ok=False, detail=line, advice=advice)


def _python(_: Settings) -> str:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if not PYTHON_FIRST <= sys.version_info[:2] < PYTHON_END:
        raise ValueError(f"{version} is not supported")
    return version


def _home(settings: Settings) -> str:
    home = settings.home.absolute()
    if not home.exists():
        return f"{home} will be created at the first start"
    # Write a file: permissions do not show that a disk is read-only or full.
    probe = home / ".doctor"
    probe.write_text("")
    probe.unlink()
    return f"{home}, {'owned by a running stack' if is_locked(settings) else 'no stack running'}"


def _disk(settings: Settings) -> str:
    home = settings.home.absolute()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < NEEDED_BYTES:
        raise ValueError(f"only {free / 1e9:.1f} GB free below {existing}")
    return f"{free / 1e9:.1f} GB"


def _databases(settings: Settings) -> str:
    services = resolve_services(settings)
    addresses = [url.get_secret_value() for url in (services.raw_url, services.clean_url, services.platform_url)]
    names = []
    for address in addresses:
        limit = f"-c statement_timeout={_SECONDS * 1000}"
        with psycopg.connect(address, connect_timeout=_SECONDS, options=limit) as connection:
            connection.execute("SELECT 1")
            names.append(connection.info.dbname)
    return "answers for " + ", ".join(names)


def _objects(settings: Settings) -> str:
    services = resolve_services(settings)
    keys = services.s3_access_key.get_secret_value(), services.s3_secret_key.get_secret_value()
    client = s3_client(services.s3_url, *keys, _SECONDS)
    buckets = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    if services.s3_bucket not in buckets:
        raise ValueError(f"answers, but has no bucket {services.s3_bucket}")
    return "answers with buckets " + ", ".join(buckets)


def _mlflow(settings: Settings) -> str:
    _get(f"{_mlflow_url(settings)}/health")
    return f"answers on {_mlflow_url(settings)}"


def _api(settings: Settings) -> str:
    # Not /health, which fails without a model, as during the first training.
    _get(f"{_api_url(settings)}/live")
    return f"answers on {_api_url(settings)}"


def _served(settings: Settings) -> str:
    response = _ask(f"{_api_url(settings)}/ready")
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise ValueError("the API has not loaded one yet")
    return f"version {_Ready.model_validate_json(_checked(response).content).model_version}"


def _data(settings: Settings) -> str:
    found = sorted((settings.home.absolute() / "data").glob("*.csv"))
    if not found:
        raise ValueError("none yet")
    return ", ".join(_size(path) for path in found)


def _model(settings: Settings) -> str:
    found = MlflowRest(_mlflow_url(settings), _SECONDS).production_version(settings.model_name)
    if found is None:
        raise ValueError(f"{settings.model_name} has no version with the alias `{ALIAS}`")
    return f"{settings.model_name} version {found.version}"


def _mlflow_url(settings: Settings) -> str:
    # Needs no password, so it can be checked even if the local stack has never started.
    return settings.mlflow_url or f"http://{LOOPBACK}:{settings.mlflow_port}"


def _api_url(settings: Settings) -> str:
    return f"http://{LOOPBACK}:{settings.api_port}"


def _get(url: str) -> httpx.Response:
    return _checked(_ask(url))


def _ask(url: str) -> httpx.Response:
    return httpx.get(url, timeout=_SECONDS, trust_env=False)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise ValueError(f"{response.url} answers with status {response.status_code}")
    return response


def _size(path: Path) -> str:
    return f"{path.name} ({path.stat().st_size / 1e6:.1f} MB)"
