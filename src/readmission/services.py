"""Addresses and logins of the services: from the settings, else those of the local stack."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter

from readmission.errors import BadInputError, ServiceDownError
from readmission.settings import Settings

CREDENTIALS_NAME = "credentials.json"

_SECRETS = TypeAdapter(dict[str, str])


class Services(BaseModel):
    """Addresses and secrets of one PostgreSQL set, one MLflow and one S3 (frozen, secrets masked in output)."""

    model_config = ConfigDict(frozen=True)

    raw_url: SecretStr
    clean_url: SecretStr
    platform_url: SecretStr
    mlflow_url: str
    s3_url: str
    s3_access_key: SecretStr
    s3_secret_key: SecretStr
    s3_bucket: str


def credentials_path(settings: Settings) -> Path:
    """The file with the secrets that the local stack generated (mode 0600)."""
    return settings.home / CREDENTIALS_NAME


def local_credentials(settings: Settings) -> dict[str, str]:
    """The local stack's secrets by name; empty if it has never started.

    Raises:
        BadInputError: the file is damaged, or its permissions forbid reading it.
    """
    path = credentials_path(settings)
    try:
        return _SECRETS.validate_json(path.read_bytes()) if path.is_file() else {}
    except OSError as error:
        raise BadInputError(f"Cannot read {path} ({error.strerror}): ask its owner, or set READMISSION_HOME") from None
    except ValueError:  # its message contains the secrets
        raise BadInputError(f"{path} is damaged: restore it from a backup") from None


def resolve_services(settings: Settings) -> Services:
    """Combine the settings with the local stack's credentials.

    Raises:
        BadInputError: the local stack's secrets cannot be read.
        ServiceDownError: a service has neither a setting nor a local stack.
    """
    secrets = local_credentials(settings)
    return Services(
        raw_url=settings.raw_database_url or _local_database(settings, secrets, "rawdata_user", "raw_data_db"),
        clean_url=settings.clean_database_url or _local_database(settings, secrets, "cleandata_user", "clean_data_db"),
        platform_url=settings.platform_database_url
        or _local_database(settings, secrets, "platform_user", "platform_db"),
        mlflow_url=settings.mlflow_url or f"http://127.0.0.1:{settings.mlflow_port}",
        s3_url=settings.s3_url or f"http://127.0.0.1:{settings.s3_port}",
        s3_access_key=settings.s3_access_key or SecretStr(_secret(secrets, "s3_access_key")),
        s3_secret_key=settings.s3_secret_key or SecretStr(_secret(secrets, "s3_secret_key")),
        s3_bucket=settings.s3_bucket,
    )


def _local_database(settings: Settings, secrets: dict[str, str], user: str, name: str) -> SecretStr:
    password = _secret(secrets, user)
    return SecretStr(f"postgresql://{user}:{password}@127.0.0.1:{settings.postgres_port}/{name}")


def _secret(secrets: dict[str, str], name: str) -> str:
    if name not in secrets:
        raise ServiceDownError("The local stack has never started here: start it with `make run` or `make stack`")
    return secrets[name]
