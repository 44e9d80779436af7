"""Typed settings of the platform, from ``READMISSION_*`` variables.

An unknown variable or an invalid value is an error; what Kubernetes sets for a service whose name begins with
``readmission`` is no setting. Passwords have no default: the local stack generates them into
``<home>/credentials.json``; anywhere else they are part of the URLs below.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from readmission.errors import BadInputError

PREFIX = "READMISSION_"

Port = Annotated[int, Field(ge=1, le=65535)]

_OF_A_SERVICE = re.compile(
    r"READMISSION_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_ADDRESS_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://.*")


def _is_set_by_a_cluster(name: str, value: str) -> bool:
    """Whether it is one of the variables that each pod gets for each service of its namespace.

    See https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables.
    """
    address = re.fullmatch(r"READMISSION_(\w+_)?PORT", name) and _ADDRESS_OF_A_SERVICE.fullmatch(value)
    return bool(address or _OF_A_SERVICE.fullmatch(name))


class _Environment(EnvSettingsSource):
    """The environment without what a cluster sets."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {
            name: value
            for name, value in super()._load_env_vars().items()
            if not _is_set_by_a_cluster(name.upper(), value or "")
        }


class Settings(BaseSettings):
    """All settings, frozen. ``docs/settings.md`` lists every field."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes all by their names
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment; no files."""
        return init_settings, _Environment(settings_cls)

    home: Path = Field(
        Path(".readmission"), description="folder of the local state (databases, objects, logs, credentials)"
    )
    data: str | None = Field(
        None, description="data source: a path, URL, gdrive://ID, s3://bucket/key or synthetic:ROWS; default: UCI"
    )

    data_sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="expected SHA-256 of the CSV; default: that of the published file, for the default source",
    )

    raw_database_url: SecretStr | None = Field(None, description="URL of raw_data_db; default: the local stack's")
    clean_database_url: SecretStr | None = Field(None, description="URL of clean_data_db; default: the local stack's")
    platform_database_url: SecretStr | None = Field(None, description="URL of platform_db; default: the local stack's")
    mlflow_url: str | None = Field(None, description="URL of the MLflow tracking server; default: the local stack's")
    s3_url: str | None = Field(None, description="URL of the S3 endpoint; default: the local stack's")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key; default: the local stack's")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key; default: the local stack's")
    s3_bucket: str = Field("readmission", min_length=3, description="bucket of the data files")

    api_url: str | None = Field(
        None,
        pattern="^https?://",
        description="URL of the prediction API that must serve a published version; default: this machine's",
    )

    postgres_port: Port = Field(5433, description="local PostgreSQL")
    s3_port: Port = Field(9000, description="local S3 server")
    s3_admin_port: Port = Field(9001, description="admin page of the local S3 server")
    s3_master_port: Port = Field(9333, description="local S3 server, internal port (and +10000)")
    s3_volume_port: Port = Field(9340, description="local S3 server, internal port (and +10000)")
    s3_filer_port: Port = Field(9335, description="local S3 server, internal port (and +10000)")
    mlflow_port: Port = Field(8002, description="local MLflow server")
    api_port: Port = Field(8000, description="prediction API")
    airflow_port: Port = Field(8001, description="Airflow's user interface and API")
    start_timeout: float = Field(90.0, gt=0, description="seconds to wait for a local service to start")

    training_queue: str = Field("default", min_length=1, description="Celery queue of the training tasks in Airflow")
    training_pod_template: Path | None = Field(None, description="pod template of the training tasks in Airflow")
    dags_folder: Path = Field(Path("dags"), description="folder of the DAGs for the local Airflow")
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="number of training processes")
    experiment: str = Field(
        "diabetes_readmission_prediction", min_length=1, description="name of the MLflow experiment"
    )
    model_name: str = Field("diabetes_readmission_model", min_length=1, description="name of the registered model")
    tuning: Path | None = Field(
        None,
        description="file of parameters of tuned_boosting, written by `readmission tune`; default: built-in ones",
    )

    leak_f1: float = Field(
        0.59, gt=0, le=1, description="largest plausible weighted F1; a higher one is treated as a leak of the outcome"
    )
    leak_lt30_auc: float = Field(
        0.71,
        gt=0,
        le=1,
        description="largest plausible ROC-AUC of <30; a higher one is treated as a leak of the outcome",
    )
    gate_f1_margin: float = Field(
        0.01, ge=0, le=1, description="promotion gate: tolerated loss of weighted F1 against production"
    )
    gate_max_lt30_ece: float = Field(
        0.03, gt=0, le=1, description="promotion gate: largest calibration error of the probability of <30"
    )
    gate_min_f1_ratio: float = Field(
        0.75, ge=0, le=1, description="promotion gate: smallest F1 of a patient group, as a share of the overall F1"
    )
    gate_max_calibration_gap: float = Field(
        0.05,
        gt=0,
        le=1,
        description="promotion gate: largest difference of mean probability and share of <30 in a patient group",
    )
    gate_min_rows: int = Field(
        200, ge=1, description="promotion gate: fewest validation rows of a patient group that is checked"
    )

    model_poll_seconds: float = Field(
        5.0, gt=0, description="seconds between two checks of the API for a new production model"
    )
    api_workers: int = Field(
        1, ge=1, description="number of API processes that share the port; in a cluster use 1, and more pods"
    )
    access_log: bool = Field(True, description="whether the API logs every request")
    otlp_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        description="OpenTelemetry collector for the API's traces, such as http://127.0.0.1:4318; default: no tracing",
    )
    trace_sample_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of requests that the API traces; a traced caller decides for its own requests",
    )
    api_keys: SecretStr | None = Field(
        None, description="API keys, NAME:SCOPE:SHA256 separated by commas; default: no key is required"
    )
    rate_limit: float = Field(
        0.0, ge=0, description="largest number of requests per second of one caller of the API; 0: unlimited"
    )
    max_concurrency: int = Field(1_000, ge=1, description="largest number of concurrent requests of an API process")
    body_limit: int = Field(1 << 20, ge=1_024, description="largest request body of the API, in bytes")
    batch_rows: int = Field(100_000, ge=1, description="largest number of records in a batch of the API")
    batch_limit: int = Field(64 << 20, ge=1_024, description="largest request body of a batch, in bytes")
    prediction_log: bool = Field(True, description="whether the API stores its predictions in platform_db")
    prediction_queue: int = Field(
        20_000, ge=1, description="largest number of predictions that wait in memory to be stored"
    )
    prediction_days: int = Field(365, ge=0, description="days after which predictions are deleted; 0: never")
    spool_mib: int = Field(512, ge=1, description="MiB of predictions that may wait on disk while the database is down")


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: values that take precedence over the environment.

    Raises:
        BadInputError: an unknown ``READMISSION_*`` variable or a value that is not allowed.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise BadInputError(f"Setting {name}: {first['msg']}; see docs/settings.md") from None


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name, value in sorted(os.environ.items()):
        if name.startswith(PREFIX) and name not in known and not _is_set_by_a_cluster(name, value):
            raise BadInputError(f"Unknown setting {name}; docs/settings.md lists all")
