import os
import socket
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from answering import answering
from readmission.local import doctor
from readmission.local.doctor import Check, examine
from readmission.services import Services
from readmission.settings import Settings

NAMES = [
    "Python",
    "State folder",
    "Free disk",
    "PostgreSQL",
    "S3",
    "MLflow",
    "API",
    "Served model",
    "Cached data",
    "Production model",
]


def by_name(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in examine(settings)}


def test_a_machine_where_nothing_has_started(tmp_path: Path, new_settings: Callable[..., Settings]) -> None:
    checks = examine(new_settings(tmp_path / "home"))
    assert [check.name for check in checks] == NAMES
    assert [check.ok for check in checks] == [True] * 3 + [False] * 7
    assert not (tmp_path / "home").exists(), "looking changes nothing"


def test_every_failure_has_one_line_and_advice(tmp_path: Path, new_settings: Callable[..., Settings]) -> None:
    for check in examine(new_settings(tmp_path / "home")):
        assert check.ok != bool(check.advice)
        assert check.detail
        assert "\n" not in check.detail


def test_a_running_stack(stack: Settings) -> None:
    checks = by_name(stack)
    for name in ("State folder", "PostgreSQL", "S3", "MLflow"):
        assert checks[name].ok, checks[name]
    assert "raw_data_db, clean_data_db, platform_db" in checks["PostgreSQL"].detail
    assert stack.s3_bucket in checks["S3"].detail
    assert "running stack" in checks["State folder"].detail


def test_no_detail_shows_a_secret(stack: Settings, services: Services) -> None:
    broken = stack.model_copy(update={"s3_secret_key": SecretStr("wrong" * 5)})
    text = " ".join(check.detail + check.advice for check in [*examine(stack), *examine(broken)])
    assert services.s3_secret_key.get_secret_value() not in text
    assert "wrong" * 5 not in text
    assert services.raw_url.get_secret_value().split(":")[2].split("@")[0] not in text


def test_wrong_logins_are_no_answer(stack: Settings) -> None:
    raw = f"postgresql://rawdata_user:wrong@127.0.0.1:{stack.postgres_port}/raw_data_db"
    wrong = {"raw_database_url": SecretStr(raw), "s3_secret_key": SecretStr("wrong" * 5)}
    checks = by_name(stack.model_copy(update=wrong))
    assert not checks["PostgreSQL"].ok
    assert not checks["S3"].ok
    assert checks["MLflow"].ok


def test_a_missing_bucket_is_noticed(stack: Settings) -> None:
    check = by_name(stack.model_copy(update={"s3_bucket": "elsewhere"}))["S3"]
    assert not check.ok
    assert "elsewhere" in check.detail


def test_ports_that_accept_but_never_answer(tmp_path: Path, new_settings: Callable[..., Settings]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        everywhere = dict.fromkeys(("postgres_port", "s3_port", "mlflow_port", "api_port"), port)
        settings = new_settings(tmp_path / "home", **everywhere, **explicit(port))
        assert [check.name for check in examine(settings) if check.ok] == ["Python", "State folder", "Free disk"]


def explicit(port: int) -> dict[str, str]:
    databases = {
        f"{name}_database_url": f"postgresql://u:p@127.0.0.1:{port}/d" for name in ("raw", "clean", "platform")
    }
    return {**databases, "s3_access_key": "key", "s3_secret_key": "secret"}


@pytest.mark.parametrize("address", ["", "nonsense", "http://[", "http://127.0.0.1:99999", "ftp://x/y"])
def test_malformed_addresses_do_not_raise(tmp_path: Path, address: str) -> None:
    urls = {f"{name}_database_url": SecretStr(address) for name in ("raw", "clean", "platform")}
    addresses = {"mlflow_url": address, "s3_url": address, "s3_access_key": "k", "s3_secret_key": "s", **urls}
    nobody = {"mlflow_port": 1, "s3_port": 1}  # an empty address means the local stack's
    settings = Settings.model_validate({"home": tmp_path, **addresses, **nobody})
    checks = by_name(settings)
    assert not checks["MLflow"].ok
    assert not checks["S3"].ok


def test_cached_data_is_listed(tmp_path: Path, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("x" * 1_500_000)
    assert by_name(settings)["Cached data"].detail == "rows.csv (1.5 MB)"


def test_the_production_model_is_found_by_its_alias(stack: Settings, services: Services) -> None:
    model = "doctor_model"
    settings = stack.model_copy(update={"model_name": model})
    assert by_name(settings)["Production model"].detail == f"{model} has no version with the alias `production`"
    with httpx.Client(base_url=f"{services.mlflow_url}/api/2.0/mlflow", timeout=30, trust_env=False) as client:
        client.post("/registered-models/create", json={"name": model}).raise_for_status()
        assert by_name(settings)["Production model"].detail == f"{model} has no version with the alias `production`"
        run = client.post("/runs/create", json={"experiment_id": "0", "start_time": 1}).raise_for_status().json()["run"]
        version = {"name": model, "source": run["info"]["artifact_uri"], "run_id": run["info"]["run_id"]}
        client.post("/model-versions/create", json=version).raise_for_status()
        alias = {"name": model, "alias": "production", "version": "1"}
        client.post("/registered-models/alias", json=alias).raise_for_status()
    assert by_name(settings)["Production model"].detail == f"{model} version 1"


def test_an_api_without_a_model_runs_nevertheless(tmp_path: Path) -> None:
    with answering({"/live": (200, '{"status":"live"}'), "*": (503, '{"status":"no model"}')}) as port:
        checks = by_name(Settings(home=tmp_path, api_port=port))
    assert checks["API"].ok
    assert checks["API"].detail == f"answers on http://127.0.0.1:{port}"
    assert not checks["Served model"].ok
    assert checks["Served model"].detail == "the API has not loaded one yet"


def test_the_served_model_is_told(tmp_path: Path) -> None:
    with answering({"*": (200, '{"status":"ready","model_version":"7"}')}) as port:
        assert by_name(Settings(home=tmp_path, api_port=port))["Served model"].detail == "version 7"


@pytest.mark.parametrize("answer", [(200, "[]"), (200, "<html>"), (404, "{}"), (500, "")])
def test_another_program_in_the_place_of_the_services_does_not_raise(tmp_path: Path, answer: tuple[int, str]) -> None:
    with answering({"*": answer}) as port:
        checks = by_name(Settings(home=tmp_path, api_port=port, mlflow_port=port))
    assert not checks["Served model"].ok
    assert not checks["Production model"].ok
    assert checks["Production model"].detail.startswith(f"MLflow at http://127.0.0.1:{port} answers, but not as MLflow")


def test_an_old_python_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4))
    check = by_name(Settings(home=tmp_path))["Python"]
    assert not check.ok
    assert "3.10.4" in check.detail


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(1, 1, 5_000_000))
    assert not by_name(Settings(home=tmp_path))["Free disk"].ok


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_noticed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert not by_name(Settings(home=tmp_path))["State folder"].ok
