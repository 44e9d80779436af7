"""The local stack's secrets: generated once, stored in one file that only its owner can read."""

import json
import os
import secrets
import stat
from pathlib import Path

from readmission.errors import BadInputError
from readmission.services import CREDENTIALS_NAME, credentials_path, local_credentials
from readmission.settings import Settings

DATABASE_USERS = ("postgres", "rawdata_user", "cleandata_user", "platform_user", "mlflow_user")
NAMES = (*DATABASE_USERS, "s3_access_key", "s3_secret_key", "s3_admin")

_ENTROPY_BYTES = 24


def prepare_home(settings: Settings) -> Path:
    """Create the state folder, readable by its owner only, and return its absolute path.

    Raises:
        BadInputError: the folder cannot be created or belongs to another user.
    """
    home = settings.home.absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The permission that lets `nobody` (PostgreSQL, see `identity`) enter is kept; listing and reading are removed.
        home.chmod(stat.S_IMODE(home.stat().st_mode) & 0o711 | 0o700)
    except OSError as error:
        raise BadInputError(f"Cannot use {home} as state folder ({error.strerror}): set READMISSION_HOME") from None
    return home


def ensure_credentials(settings: Settings) -> dict[str, str]:
    """Read the secrets by name; generate them at the first start, and never again.

    Raises:
        BadInputError: the file is not usable, or it is missing although the databases that need it exist.
    """
    home = prepare_home(settings)
    path = credentials_path(settings)
    if not path.exists():
        _refuse_orphaned_data(home, path)
        _write(path, {name: secrets.token_urlsafe(_ENTROPY_BYTES) for name in NAMES})
    return _read(settings, path)


def _refuse_orphaned_data(home: Path, path: Path) -> None:
    if (home / "postgres").exists():
        raise BadInputError(f"{path} is missing but its databases exist: restore it, or remove the folder {home}")


def _write(path: Path, values: dict[str, str]) -> None:
    temporary = path.with_name(f".{CREDENTIALS_NAME}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(values, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read(settings: Settings, path: Path) -> dict[str, str]:
    try:
        path.chmod(0o600)
    except OSError as error:
        raise BadInputError(f"Cannot use {path} ({error.strerror}): it must be your own file") from None
    values = local_credentials(settings)
    missing = sorted(set(NAMES) - set(values))
    if missing:
        raise BadInputError(f"{path} lacks {', '.join(missing)}: restore it from a backup")
    return values
