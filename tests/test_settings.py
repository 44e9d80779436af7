import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from readmission.errors import BadInputError
from readmission.settings import PREFIX, Settings, load_settings

DOCUMENTATION = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
VARIABLES = [PREFIX + name.upper() for name in Settings.model_fields]


def refusal(**overrides: object) -> str:
    with pytest.raises(BadInputError) as caught:
        load_settings(**overrides)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_defaults_need_no_environment() -> None:
    settings = load_settings()
    assert (settings.postgres_port, settings.s3_port, settings.s3_admin_port) == (5433, 9000, 9001)
    assert (settings.mlflow_port, settings.api_port) == (8002, 8000)
    assert settings.experiment == "diabetes_readmission_prediction"
    assert settings.model_name == "diabetes_readmission_model"
    assert settings.workers == os.cpu_count()


def test_no_test_sees_what_the_caller_has_set() -> None:
    """The test above passes, whatever the environment says to who calls pytest."""
    command = [sys.executable, "-m", "pytest", "-q", f"{__file__}::test_the_defaults_need_no_environment"]
    inner = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, env={**inner, PREFIX + "API_PORT": "4321"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ports_of_one_machine_do_not_collide() -> None:
    ports = [value for name, value in load_settings().model_dump().items() if name.endswith("_port")]
    assert len(set(ports)) == len(ports)


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READMISSION_POSTGRES_PORT", "5555")
    monkeypatch.setenv("READMISSION_HOME", "elsewhere")
    settings = load_settings()
    assert (settings.postgres_port, settings.home) == (5555, Path("elsewhere"))


CLUSTER = {
    "READMISSION_API_SERVICE_HOST": "10.0.0.7",
    "READMISSION_API_SERVICE_PORT": "8000",
    "READMISSION_API_SERVICE_PORT_HTTP": "8000",
    "READMISSION_API_PORT": "tcp://10.0.0.7:8000",
    "READMISSION_API_PORT_8000_TCP": "tcp://10.0.0.7:8000",
    "READMISSION_API_PORT_8000_TCP_PROTO": "tcp",
    "READMISSION_API_PORT_8000_TCP_PORT": "8000",
    "READMISSION_API_PORT_8000_TCP_ADDR": "10.0.0.7",
    "READMISSION_PORT": "tcp://10.0.0.7:8000",
    "READMISSION_SERVICE_HOST": "10.0.0.7",
    "READMISSION_PORT_53_UDP_ADDR": "10.0.0.7",
}
"""What a pod gets for services named ``readmission-api`` and ``readmission``."""


@pytest.mark.parametrize("name", CLUSTER)
def test_what_kubernetes_sets_for_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, CLUSTER[name])
    assert load_settings().model_dump() == Settings().model_dump()
    assert load_settings().api_port == 8000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("READMISSION_API_PORT", "8000x"),
        ("READMISSION_PORT", "8000"),
        ("READMISSION_S3_URL_SERVICE", "x"),
        ("READMISSION_API_PORTS", "tcp://10.0.0.7:8000"),
    ],
)
def test_what_looks_like_it_is_still_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert name in refusal()


def test_overrides_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READMISSION_API_PORT", "5555")
    assert load_settings(api_port=6666).api_port == 6666


@pytest.mark.parametrize("name", ["READMISSION_POSTGRES_PORTS", "READMISSION_", "READMISSION_PASSWORD"])
def test_an_unknown_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "hunter2")
    assert name in refusal()
    assert "hunter2" not in refusal()
    assert "docs/settings.md" in refusal()


def test_other_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READMISSIONS", "1")
    monkeypatch.setenv("POSTGRES_PORT", "1")
    assert load_settings().postgres_port == 5433


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("READMISSION_POSTGRES_PORT", "secret77"),
        ("READMISSION_S3_PORT", "0"),
        ("READMISSION_API_PORT", "65536"),
        ("READMISSION_MLFLOW_PORT", ""),
        ("READMISSION_WORKERS", "0"),
        ("READMISSION_WORKERS", "1.5"),
        ("READMISSION_START_TIMEOUT", "-1"),
        ("READMISSION_MODEL_POLL_SECONDS", "0"),
        ("READMISSION_S3_BUCKET", "ab"),
        ("READMISSION_EXPERIMENT", ""),
        ("READMISSION_MODEL_NAME", ""),
        ("READMISSION_OTLP_ENDPOINT", "collector:4318"),
        ("READMISSION_DATA_SHA256", "secret77"),
        ("READMISSION_DATA_SHA256", "A" * 64),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    message = refusal()
    assert message.startswith(f"Setting {name}: ")
    assert "secret77" not in message


def test_a_bad_override_is_refused_too() -> None:
    assert refusal(api_port=0).startswith("Setting READMISSION_API_PORT: ")
    assert "READMISSION_NO_SUCH" in refusal(no_such=1)


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, variable) in enumerate(zip(Settings.model_fields, VARIABLES, strict=True)):
        kind = str(Settings.model_fields[name].annotation)
        value = _numbered(number, name) if "int" in kind or "float" in kind else _text(number, name)
        value = "no" if "bool" in kind else value
        monkeypatch.setenv(variable, value)
    for number, (name, value) in enumerate(load_settings().model_dump().items()):
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if isinstance(value, bool):
            assert not value
            continue
        assert text in (_numbered(number, name), str(float(_numbered(number, name))), _text(number, name))


def _text(number: int, name: str) -> str:
    return f"http://{number}" if name in ("otlp_endpoint", "api_url") else f"{number:064x}"


def _numbered(number: int, name: str) -> str:
    """A value of its own for each setting; shares are at most 1."""
    share = any(rule.le == 1 for rule in Settings.model_fields[name].metadata if hasattr(rule, "le"))
    return str(number / 1000) if share else str(1000 + number)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings().api_port = 1


def test_secrets_are_masked() -> None:
    settings = load_settings(raw_database_url="postgresql://me:hunter2@host/db", s3_secret_key="hunter2")
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name: str) -> None:
    assert Settings.model_fields[name].description


def test_exactly_these_settings_are_documented() -> None:
    """One row of a table for each: ``| `READMISSION_X` | ... |``."""
    documented = re.findall(rf"^\|\s*`({PREFIX}[A-Z0-9_]*)`", DOCUMENTATION.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(VARIABLES)
