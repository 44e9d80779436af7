"""Every knob of the platform, typed, from ``READMISSION_*`` variables.

An unknown variable or an unsafe value stops the start. Passwords have no default: the local stack generates them into
``<home>/credentials.json``; anywhere else they arrive inside the URLs below.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from readmission.errors import BadInputError

PREFIX = "READMISSION_"

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """One frozen object, handed to whoever needs it. Each field is described in ``docs/settings.md``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(Path(".readmission"), description="folder of all local state")
    data: str | None = Field(None, description="data source: path, URL, gdrive://ID, s3://bucket/key, synthetic:ROWS")

    data_sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="expected SHA-256 of the CSV; default: that of UCI's"
    )

    raw_database_url: SecretStr | None = Field(None, description="raw_data_db; empty: the local stack's")
    clean_database_url: SecretStr | None = Field(None, description="clean_data_db; empty: the local stack's")
    platform_database_url: SecretStr | None = Field(None, description="platform_db; empty: the local stack's")
    mlflow_url: str | None = Field(None, description="MLflow tracking server; empty: the local stack's")
    s3_url: str | None = Field(None, description="S3 endpoint; empty: the local stack's")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key; empty: the local stack's")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key; empty: the local stack's")
    s3_bucket: str = Field("readmission", min_length=3, description="bucket of the data files")

    api_url: str | None = Field(
        None, pattern="^https?://", description="prediction API that publishes are checked on; empty: this machine's"
    )

    postgres_port: Port = Field(5433, description="local PostgreSQL")
    s3_port: Port = Field(9000, description="local S3 server")
    s3_admin_port: Port = Field(9001, description="admin page of the local S3 server")
    s3_master_port: Port = Field(9333, description="local S3 server, inner port (and +10000)")
    s3_volume_port: Port = Field(9340, description="local S3 server, inner port (and +10000)")
    s3_filer_port: Port = Field(9335, description="local S3 server, inner port (and +10000)")
    mlflow_port: Port = Field(8002, description="local MLflow server")
    api_port: Port = Field(8000, description="prediction API")
    airflow_port: Port = Field(8001, description="Airflow's user interface and API")
    start_timeout: float = Field(90.0, gt=0, description="seconds that a local service may take to start")

    training_queue: str = Field("default", min_length=1, description="Celery queue on which Airflow trains")
    training_pod_template: Path | None = Field(None, description="template of the pods in which Airflow trains")
    dags_folder: Path = Field(Path("dags"), description="folder of the DAGs for Airflow on this machine")
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="training processes")
    experiment: str = Field("diabetes_readmission_prediction", min_length=1, description="MLflow experiment")
    model_name: str = Field("diabetes_readmission_model", min_length=1, description="registered model")
    tuning: Path | None = Field(
        None, description="parameters of tuned_boosting, from `readmission tune`; empty: its own"
    )

    leak_f1: float = Field(0.59, gt=0, le=1, description="weighted F1 above which a score is too good to be true")
    leak_lt30_auc: float = Field(0.71, gt=0, le=1, description="<30 ROC-AUC above which a score is too good to be true")
    gate_f1_margin: float = Field(0.01, ge=0, le=1, description="loss of F1 against production that is tolerated")
    gate_max_lt30_ece: float = Field(0.03, gt=0, le=1, description="largest calibration error of the <30 probability")
    gate_min_f1_ratio: float = Field(0.75, ge=0, le=1, description="smallest share of the overall F1 in a group")
    gate_max_calibration_gap: float = Field(0.05, gt=0, le=1, description="largest gap of the <30 rate in a group")
    gate_min_rows: int = Field(200, ge=1, description="validation rows that a group needs to be judged")

    model_poll_seconds: float = Field(5.0, gt=0, description="how often the API looks for a new production model")
    api_workers: int = Field(
        1, ge=1, description="processes of the API that share its port; in a cluster: one, and pods"
    )
    access_log: bool = Field(True, description="whether the API logs every request")
    otlp_endpoint: str | None = Field(
        None, pattern="^https?://", description="collector that the API's traces go to, such as http://127.0.0.1:4318"
    )
    trace_sample_ratio: float = Field(
        1.0, ge=0, le=1, description="share of requests that the API traces; within a trace its caller decides"
    )
    api_keys: SecretStr | None = Field(
        None, description="keys that the API accepts, NAME:SCOPE:SHA256 between commas; empty: it asks for none"
    )
    rate_limit: float = Field(0.0, ge=0, description="requests per second of one caller of the API; 0: any number")
    max_concurrency: int = Field(1_000, ge=1, description="requests that an API process answers at once")
    body_limit: int = Field(1 << 20, ge=1_024, description="bytes of a body that the API reads")
    batch_rows: int = Field(100_000, ge=1, description="records of one batch of the API")
    batch_limit: int = Field(64 << 20, ge=1_024, description="bytes of a batch that the API reads")
    prediction_log: bool = Field(True, description="whether the API keeps its predictions in platform_db")
    prediction_queue: int = Field(20_000, ge=1, description="predictions that may wait in memory to be kept")
    prediction_days: int = Field(365, ge=0, description="days after which predictions are deleted; 0: never")
    spool_mib: int = Field(512, ge=1, description="MiB of predictions that may wait on disk while the database is away")


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: values that win over the environment.

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
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            raise BadInputError(f"Unknown setting {name}; docs/settings.md lists all")
