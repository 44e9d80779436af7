import json
import os
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from readmission.errors import BadInputError
from readmission.local.credentials import NAMES, ensure_credentials, prepare_home
from readmission.services import credentials_path, resolve_services
from readmission.settings import Settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "deep" / "home")


def test_generates_every_secret_at_the_first_start(settings: Settings) -> None:
    values = ensure_credentials(settings)
    assert sorted(values) == sorted(NAMES)
    assert len(set(values.values())) == len(NAMES)
    assert min(len(value) for value in values.values()) >= 32


def test_secrets_fit_into_an_address_as_they_are(settings: Settings) -> None:
    assert all(quote(value, safe="") == value for value in ensure_credentials(settings).values())


def test_only_the_owner_can_read_them_whatever_the_umask(settings: Settings) -> None:
    old = os.umask(0)
    try:
        ensure_credentials(settings)
    finally:
        os.umask(old)
    assert mode(settings.home) == 0o700
    assert mode(credentials_path(settings)) == 0o600


def test_loose_modes_are_tightened(settings: Settings) -> None:
    first = ensure_credentials(settings)
    settings.home.chmod(0o777)
    credentials_path(settings).chmod(0o644)
    assert ensure_credentials(settings) == first
    assert mode(settings.home) == 0o711, "the bit that lets user nobody pass stays"
    assert mode(credentials_path(settings)) == 0o600


def test_secrets_are_never_generated_anew(settings: Settings) -> None:
    assert ensure_credentials(settings) == ensure_credentials(settings)


def test_nothing_else_is_left_in_the_folder(settings: Settings) -> None:
    ensure_credentials(settings)
    assert [path.name for path in settings.home.iterdir()] == ["credentials.json"]


def test_services_are_resolved_from_them(settings: Settings) -> None:
    values = ensure_credentials(settings)
    services = resolve_services(settings)
    assert values["cleandata_user"] in services.clean_url.get_secret_value()
    assert services.s3_secret_key.get_secret_value() == values["s3_secret_key"]


def test_lost_credentials_of_existing_databases_stop_the_start(settings: Settings) -> None:
    ensure_credentials(settings)
    credentials_path(settings).unlink()
    (settings.home / "postgres").mkdir()
    with pytest.raises(BadInputError, match=r"credentials\.json is missing"):
        ensure_credentials(settings)
    assert not credentials_path(settings).exists()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\0"])
def test_a_damaged_file_is_reported_and_kept(settings: Settings, text: str) -> None:
    ensure_credentials(settings)
    credentials_path(settings).write_text(text)
    with pytest.raises(BadInputError) as error:
        ensure_credentials(settings)
    assert "backup" in str(error.value)
    assert "\n" not in str(error.value)
    assert credentials_path(settings).read_text() == text


def test_a_missing_secret_is_named(settings: Settings) -> None:
    values = ensure_credentials(settings)
    del values["mlflow_user"]
    credentials_path(settings).write_text(json.dumps(values))
    with pytest.raises(BadInputError, match="mlflow_user"):
        ensure_credentials(settings)


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="READMISSION_HOME"):
        prepare_home(Settings(home=tmp_path / "file"))
