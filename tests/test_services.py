import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from readmission.errors import BadInputError, ServiceDownError
from readmission.services import Services, credentials_path, local_credentials, resolve_services
from readmission.settings import Settings

LOCAL = {
    "postgres": "super1",
    "rawdata_user": "raw1",
    "cleandata_user": "clean1",
    "platform_user": "platform1",
    "s3_access_key": "access1",
    "s3_secret_key": "secret1",
}
ELSEWHERE = {
    "raw_database_url": "postgresql://a:b@raw.example/raw",
    "clean_database_url": "postgresql://a:b@clean.example/clean",
    "platform_database_url": "postgresql://a:b@platform.example/platform",
    "mlflow_url": "https://mlflow.example",
    "s3_url": "https://s3.example",
    "s3_access_key": "access2",
    "s3_secret_key": "secret2",
}


def settings_in(home: Path, **values: object) -> Settings:
    return Settings.model_validate({"home": home, **values})


def reveal(services: Services) -> dict[str, str]:
    values = services.model_dump()
    return {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "credentials.json").write_text(json.dumps(LOCAL))
    return tmp_path


def test_the_local_stack(home: Path) -> None:
    services = resolve_services(settings_in(home, postgres_port=5001, mlflow_port=5002, s3_port=5003))
    assert reveal(services) == {
        "raw_url": "postgresql://rawdata_user:raw1@127.0.0.1:5001/raw_data_db",
        "clean_url": "postgresql://cleandata_user:clean1@127.0.0.1:5001/clean_data_db",
        "platform_url": "postgresql://platform_user:platform1@127.0.0.1:5001/platform_db",
        "mlflow_url": "http://127.0.0.1:5002",
        "s3_url": "http://127.0.0.1:5003",
        "s3_access_key": "access1",
        "s3_secret_key": "secret1",
        "s3_bucket": "readmission",
    }


def test_explicit_settings_need_no_local_stack(tmp_path: Path) -> None:
    found = reveal(resolve_services(settings_in(tmp_path, s3_bucket="bucket", **ELSEWHERE)))
    assert sorted(found.values()) == sorted(["bucket", *ELSEWHERE.values()])


@pytest.mark.parametrize("name", ELSEWHERE)
def test_one_explicit_setting_wins_over_the_local_stack(home: Path, name: str) -> None:
    local, mixed = (reveal(resolve_services(settings_in(home, **some))) for some in ({}, {name: ELSEWHERE[name]}))
    changed = {field: value for field, value in mixed.items() if value != local[field]}
    assert list(changed.values()) == [ELSEWHERE[name]]


@pytest.mark.parametrize("name", ["raw_database_url", "mlflow_url", "s3_url", "s3_access_key"])
def test_an_empty_setting_means_the_local_stack(home: Path, name: str) -> None:
    assert resolve_services(settings_in(home, **{name: ""})) == resolve_services(settings_in(home))


@pytest.mark.parametrize("name", [name for name in ELSEWHERE if name not in ("mlflow_url", "s3_url")])
def test_a_missing_login_is_one_line_that_helps(tmp_path: Path, name: str) -> None:
    some = {key: value for key, value in ELSEWHERE.items() if key != name}
    with pytest.raises(ServiceDownError, match=r"^The local stack has never started here: .*make stack`$"):
        resolve_services(settings_in(tmp_path, **some))


def test_no_credentials_before_the_first_start(tmp_path: Path) -> None:
    assert local_credentials(settings_in(tmp_path)) == {}
    assert credentials_path(settings_in(tmp_path)) == tmp_path / "credentials.json"


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\0", b"\xff", b'{"postgres": {"hunter2": 1}}'])
def test_damaged_credentials_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = credentials_path(settings_in(tmp_path))
    path.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        resolve_services(settings_in(tmp_path))
    assert str(caught.value) == f"{path} is damaged: restore it from a backup"


def test_unreadable_credentials_are_one_line(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / ("x" * 300))
    with pytest.raises(BadInputError) as caught:
        resolve_services(settings)
    assert str(caught.value) == (
        f"Cannot read {credentials_path(settings)} (File name too long): ask its owner, or set READMISSION_HOME"
    )


def test_secrets_are_masked(home: Path) -> None:
    shown = repr(resolve_services(settings_in(home)))
    assert not [secret for secret in LOCAL.values() if secret in shown]


def test_services_cannot_be_changed(home: Path) -> None:
    with pytest.raises(ValidationError):
        resolve_services(settings_in(home)).mlflow_url = "http://elsewhere.example"


def test_the_running_stack_is_found(stack: Settings, services: Services) -> None:
    assert reveal(services)["raw_url"].endswith(f"@127.0.0.1:{stack.postgres_port}/raw_data_db")
    assert credentials_path(stack).stat().st_mode & 0o777 == 0o600
