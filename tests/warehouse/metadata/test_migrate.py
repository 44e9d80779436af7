"""platform_db from a release before migrations, from nothing, twice, at once, and from a newer release."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from building import fetch
from pydantic import SecretStr
from setuptools import find_packages

from command_line import SOURCE, CommandLine
from processes import eventually
from readmission.errors import BadInputError, ReadmissionError
from readmission.results import Publication, Ranking, SplitResult, StoreResult
from readmission.services import Services
from readmission.settings import Settings
from readmission.warehouse.metadata.executions import latest_result, load_results
from readmission.warehouse.metadata.migrate import _LOCK, Migrated, migrate, revisions
from readmission.warehouse.metadata.promotions import Promotion, log_promotion, pending_promotions

OLD = Path(__file__).with_name("schema_2026_11.sql")
BY_COMMAND_LINE, BY_AIRFLOW = "20261120_050000_000", "manual_2026_11_21_ab12cd34"

_COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
      pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY 1, 2
"""
_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


def schema(url: SecretStr) -> list[Any]:
    return [fetch(url, query) for query in (_COLUMNS, _CONSTRAINTS, _INDEXES)]


def fresh(warehouse: Services) -> SecretStr:
    """Another empty database, migrated."""
    migrate(warehouse.clean_url)
    return warehouse.clean_url


@pytest.fixture
def old(warehouse: Services) -> SecretStr:
    """A database as the release before migrations left it."""
    with psycopg.connect(warehouse.platform_url.get_secret_value()) as connection:
        connection.execute(OLD.read_bytes())
    return warehouse.platform_url


def test_an_old_database_gets_the_schema_of_a_new_one(old: SecretStr, warehouse: Services) -> None:
    assert migrate(old) == Migrated(None, revisions()[-1])
    assert schema(old) == schema(fresh(warehouse))


def test_an_old_database_keeps_its_rows(old: SecretStr) -> None:
    tables = ("executions", "swaps", "promotions", "predictions", "feedback")
    before = {table: fetch(old, f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables}
    assert all(before.values())
    migrate(old)
    assert {table: fetch(old, f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables} == before
    with psycopg.connect(old.get_secret_value()) as connection:
        (pending,) = pending_promotions(connection).values()
    assert (pending.actor, pending.reasons) == ("ward", ["it's time"])


def test_results_under_the_names_of_steps_are_as_they_were(old: SecretStr) -> None:
    query = """
        SELECT r::text FROM stage_results r WHERE stage IN ('download', 'split', 'clean', 'plan') ORDER BY 1
    """
    before = fetch(old, query)
    assert len(before) == 8
    migrate(old)
    assert fetch(old, query) == before


def test_every_result_keeps_its_time(old: SecretStr) -> None:
    query = "SELECT DISTINCT execution, finished_at FROM stage_results ORDER BY 1"
    before = fetch(old, query)
    assert len(before) == 2
    migrate(old)
    assert fetch(old, query) == before


def test_the_log_of_promotions_goes_on_with_the_next_number(old: SecretStr) -> None:
    promotion = Promotion(
        actor="ward", model_name="m", from_version="2", to_version="3", decision="promoted", reasons=[]
    )  # fmt: skip
    migrate(old)
    with psycopg.connect(old.get_secret_value()) as connection:
        assert log_promotion(connection, promotion) == 3


@pytest.mark.parametrize("execution", [BY_COMMAND_LINE, BY_AIRFLOW])
def test_results_of_either_runner_are_found_by_the_names_of_steps(old: SecretStr, execution: str) -> None:
    migrate(old)
    with psycopg.connect(old.get_secret_value()) as connection:
        found = load_results(connection, execution, ".*")
    assert set(found) == {
        "download", "split", "store_batches", "store_holdout", "store_views", "clean", "plan", "train_cumulative_0",
        "train_cumulative_1", "aggregate", "select", "evaluate", "publish",
    }  # fmt: skip
    ranking = Ranking.model_validate(found["aggregate"])
    assert [model.run_id for model in ranking.models] == ["r1d", "r1l", "r0l", "r0d"]
    assert found["select"] == found["evaluate"]["best"] == found["train_cumulative_1"]["models"][0]
    stored = {name: StoreResult.model_validate(found[name]) for name in found if name.startswith("store_")}
    assert stored["store_batches"].rows == {"batch_0": 100, "batch_1": 100}
    assert stored["store_holdout"].rows == {"validation_raw": 40, "test_raw": 40}
    assert stored["store_views"].views == ("train_cumulative_0", "train_cumulative_1")
    assert SplitResult.model_validate(found["split"]).batches == 2
    publication = Publication.model_validate(found["publish"])
    # The command line did not store which model the decision was about.
    assert (publication.model is None) is (execution == BY_COMMAND_LINE)


def test_what_was_published_last_is_still_shown(old: SecretStr) -> None:
    migrate(old)
    with psycopg.connect(old.get_secret_value()) as connection:
        found = latest_result(connection, "evaluate")
    assert found is not None
    assert found["best"]["run_id"] == "r1d"


def test_migrating_again_changes_nothing(url: SecretStr) -> None:
    before = schema(url)
    assert migrate(url) == Migrated(revisions()[-1], revisions()[-1])
    assert schema(url) == before


def test_a_database_that_is_up_to_date_costs_no_import(url: SecretStr) -> None:
    code = (
        "import sys; from pydantic import SecretStr; from readmission.warehouse.metadata.migrate import migrate\n"
        "migrate(SecretStr(sys.argv[1])); print(sorted({'alembic', 'sqlalchemy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, url.get_secret_value()]
    done = subprocess.run(command, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("beginning", ["warehouse", "old"])
def test_several_starts_at_once_do_not_race(beginning: str, request: pytest.FixtureRequest) -> None:
    """The first one migrates; the others wait for it, and find nothing to do."""
    request.getfixturevalue(beginning)
    url = request.getfixturevalue("warehouse").platform_url
    with ThreadPoolExecutor(6) as threads:
        done = list(threads.map(migrate, [url] * 6))
    newest = revisions()[-1]
    assert sorted(done, key=lambda one: one.before or "") == [Migrated(None, newest), *[Migrated(newest, newest)] * 5]
    assert fetch(url, "SELECT version_num FROM alembic_version") == [(newest,)]


def test_a_start_that_waited_for_a_newer_release_is_refused(old: SecretStr) -> None:
    with ThreadPoolExecutor(1) as threads, psycopg.connect(old.get_secret_value()) as newer:
        newer.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        waiting = threads.submit(migrate, old)
        query = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s"
        assert eventually(lambda: fetch(old, query, _LOCK) == [(1,)])
        newer.execute("CREATE TABLE alembic_version (version_num text)")
        newer.execute("INSERT INTO alembic_version VALUES ('9999')")
        newer.commit()
        with pytest.raises(BadInputError, match="has revision 9999"):
            waiting.result()


def test_a_failed_migration_changes_nothing(old: SecretStr) -> None:
    with psycopg.connect(old.get_secret_value()) as connection:  # 0002 cannot read it
        connection.execute("UPDATE stage_results SET result = to_jsonb('x'::text) WHERE stage = 'train'")
        connection.execute("ALTER TABLE stage_results ADD CHECK (stage <> 'aggregate')")
    before = schema(old)
    with pytest.raises(
        ReadmissionError, match=r"/test_platform_url_\w+ failed, nothing was changed: .* violates"
    ) as failure:
        migrate(old)
    assert "\n" not in str(failure.value)
    assert schema(old) == before
    assert fetch(old, "SELECT count(*) FROM stage_results WHERE stage = 'store batches'") == [(1,)]


def test_a_newer_database_is_refused_in_one_line(new_platform: Callable[[], Settings]) -> None:
    commands = CommandLine(new_platform())
    url = commands.services.platform_url
    migrate(url)
    with psycopg.connect(url.get_secret_value()) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = schema(url)
    refused = commands.invoke("migrate")
    assert (refused.code, refused.stdout) == (2, "")
    assert re.search(r"has revision 9999, this release knows revisions up to \d{4}: use the newer", refused.complaint)
    assert schema(url) == before


def test_the_package_contains_the_revisions() -> None:
    """Also where it is installed from a wheel."""
    assert "readmission.warehouse.metadata.migrations.versions" in find_packages(str(SOURCE))


def test_revisions_follow_each_other() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "readmission.warehouse.metadata:migrations")
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [script.revision for script in scripts][::-1] == revisions()
    # On purpose: an older release goes with a backup of its own database.
    assert not [script.revision for script in scripts if hasattr(script.module, "downgrade")]


def test_the_dump_is_what_it_says() -> None:
    """Old keys of both runners, so that the tests above see what they are about."""
    text = OLD.read_text()
    for stage in ("store batches", "train set 1", "published model", "select", "store"):
        assert f"'{stage}'" in text
    assert json.dumps("train_cumulative_0") in text


def test_the_command_tells_from_where_to_where(new_platform: Callable[[], Settings]) -> None:
    commands = CommandLine(new_platform())
    newest = revisions()[-1]
    assert commands.invoke("migrate").stdout == f"platform_db: revision none before, {newest} now\n"
    assert commands.invoke("migrate").stdout == f"platform_db: revision {newest} before, {newest} now\n"
