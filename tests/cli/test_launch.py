"""The decisions of ``readmission run``; a whole start is tested in ``e2e``."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from answering import answering
from command_line import closed_port
from readmission.cli.launch import finish_interrupted, has_production, serve_airflow, show_results, wait_for_the_end
from readmission.errors import BadInputError, ServiceDownError
from readmission.local.stack import LocalStack
from readmission.registry.client import make_client
from readmission.registry.versions import create_version
from readmission.services import resolve_services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import promotions
from readmission.warehouse.metadata.migrate import migrate
from readmission.warehouse.metadata.promotions import Promotion
from readmission.warehouse.metadata.run_lock import run_lock

LOGINS = {"raw_database_url": "a", "clean_database_url": "b", "platform_database_url": "c"}
KEYS = {"s3_access_key": "d", "s3_secret_key": "e"}


def asking(home: Path, port: int) -> Settings:
    return Settings.model_validate({"home": home, "mlflow_port": port, **LOGINS, **KEYS})


@pytest.mark.parametrize(("status", "code"), [(404, "RESOURCE_DOES_NOT_EXIST"), (400, "INVALID_PARAMETER_VALUE")])
def test_no_model_or_no_alias_means_nothing_in_production(tmp_path: Path, status: int, code: str) -> None:
    with answering({"*": (status, f'{{"error_code": "{code}", "message": "not found"}}')}) as port:
        assert not has_production(asking(tmp_path, port))


def test_a_version_with_the_alias_is_in_production(tmp_path: Path) -> None:
    version = '{"name": "diabetes_readmission_model", "version": "3", "source": "runs:/r/bundle"}'
    with answering({"*": (200, f'{{"model_version": {version}}}')}) as port:
        assert has_production(asking(tmp_path, port))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, '{"error_code": "INTERNAL_ERROR"}'),
        (503, "try again"),
        (404, "<html>"),
        (403, "proxy"),
        (400, '{"error_code": "BAD_REQUEST"}'),
        (200, "<html>"),
    ],
)
def test_any_other_answer_never_looks_like_an_empty_registry(tmp_path: Path, status: int, body: str) -> None:
    with (
        answering({"*": (status, body)}) as port,
        pytest.raises(ServiceDownError, match=rf"^MLflow at .*:{port} answers, but not as MLflow .*status {status}"),
    ):
        has_production(asking(tmp_path, port))


def test_a_registry_that_is_down_is_one_line(tmp_path: Path) -> None:
    port = closed_port()
    with pytest.raises(ServiceDownError, match=rf"^MLflow at http://127\.0\.0\.1:{port} does not answer"):
        has_production(asking(tmp_path, port))


def test_a_platform_where_nothing_ran_yet_has_no_results_to_show(new_platform: Callable[..., Settings]) -> None:
    shown = io.StringIO()
    show_results(new_platform(), Console(file=shown))
    assert shown.getvalue() == ""


def test_a_start_finishes_a_promotion_that_was_cut_short(new_platform: Callable[..., Settings], tmp_path: Path) -> None:
    settings = new_platform()
    services = resolve_services(settings)
    client = make_client(services)
    run_id = client.create_run(client.create_experiment(settings.experiment)).info.run_id
    (tmp_path / "file.txt").write_text("any")
    create_version(client, settings.model_name, run_id, tmp_path, {}, "one")
    migrate(services.platform_url)
    with connect(services.platform_url) as connection:
        pending = Promotion(
            actor="a", model_name=settings.model_name, from_version=None, to_version="1", decision="published",
            reasons=["why"],
        )  # fmt: skip
        promotions.log_promotion(connection, pending, pending=True)
    finish_interrupted(settings)
    assert has_production(settings)


def test_a_start_leaves_a_run_that_is_under_way_alone(new_platform: Callable[..., Settings]) -> None:
    services = resolve_services(settings := new_platform())
    migrate(services.platform_url)
    with connect(services.platform_url) as connection:
        connection.execute("INSERT INTO swaps (execution) VALUES ('under_way')")
    with run_lock(services.platform_url, "somebody"):
        finish_interrupted(settings)
        with connect(services.platform_url) as connection:
            assert connection.execute("SELECT count(*) FROM swaps").fetchone() == (1,)
    finish_interrupted(settings)
    with connect(services.platform_url) as connection:
        assert connection.execute("SELECT count(*) FROM swaps").fetchone() == (0,)


def test_airflow_is_asked_for_before_anything_starts(
    new_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_settings(tmp_path / "home", dags_folder=tmp_path / "none")
    with pytest.raises(BadInputError, match="READMISSION_DAGS_FOLDER"):
        serve_airflow(settings, Console())
    monkeypatch.setattr("readmission.cli.launch.find_spec", lambda name: None)
    with pytest.raises(BadInputError, match="make airflow"):
        serve_airflow(settings, Console())
    assert not settings.home.exists()


class Impatient(io.StringIO):
    """Someone who presses Ctrl-C at the very moment it is offered."""

    def write(self, shown: str) -> int:
        super().write(shown)
        if "Ctrl-C" in shown:
            raise KeyboardInterrupt
        return len(shown)


def test_ctrl_c_is_taken_from_the_moment_it_is_offered(tmp_path: Path) -> None:
    stack = LocalStack(Settings(home=tmp_path / "home"))
    shown = Impatient()
    wait_for_the_end(stack, Console(file=shown))
    assert "Ctrl-C stops everything." in shown.getvalue()
