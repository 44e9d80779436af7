"""The command line's runner: results are stored, the lock is held, a stage before its time is refused."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from command_line import closed_port
from readmission.context import Context, Progress, new_execution
from readmission.dataset.source_file import Dataset
from readmission.errors import BadInputError, ServiceDownError
from readmission.orchestration.execution import begin, load, pipeline_lock, run_step
from readmission.orchestration.runner import Run, run_stage
from readmission.orchestration.steps import STAGES, step_named
from readmission.results import Aim, Models, Options, Plan, SplitResult, StoreResult
from readmission.services import resolve_services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import executions
from readmission.warehouse.metadata.migrate import migrate

NAMES = ["download", "split", "store", "clean", "plan", "train", "select", "publish"]


@pytest.fixture
def reported() -> list[Progress]:
    return []


@pytest.fixture
def run(new_platform: Callable[..., Settings], reported: list[Progress]) -> Iterator[Run]:
    """An execution that has begun; its processes are never started."""
    settings = new_platform()
    context = Context(settings, resolve_services(settings), new_execution(), reported.append)
    migrate(context.services.platform_url)
    with ProcessPoolExecutor(1) as pool:
        made = Run(context, Options(data="synthetic:3000", batches=2), pool)
        begin(context, made.options)
        yield made


def test_stages_are_those_of_the_command_line() -> None:
    assert list(STAGES) == NAMES


def test_results_are_stored_for_later_stages(run: Run, reported: list[Progress]) -> None:
    downloaded = run_stage(run, "download")
    assert downloaded == load(run.context, "download", Dataset)
    split = run_stage(run, "split")
    assert load(run.context, "split", SplitResult) == split
    lines = [step.what for step in reported if not step.total]
    assert [line for line in lines if "started" in line] == ["download: started", "split: started"]
    assert sum(" done in " in line for line in lines) == 2


def test_a_stage_before_its_time_says_what_to_run(run: Run) -> None:
    expected = (
        rf"^Step download has not run in execution {run.context.execution}: run `readmission pipeline download` first$"
    )
    with pytest.raises(BadInputError, match=expected):
        run_stage(run, "split")


def test_what_the_steps_of_a_stage_stored_is_shown_together(run: Run) -> None:
    for stage in ("download", "split"):
        run_stage(run, stage)
    stored = run_stage(run, "store")
    assert isinstance(stored, StoreResult)
    assert set(stored.rows) == {"batch_0", "batch_1", "validation_raw", "test_raw"}
    assert sum(stored.rows.values()) == 3000
    assert stored.views == ("train_cumulative_0", "train_cumulative_1")
    parts = [load(run.context, name, StoreResult) for name in ("store_batches", "store_holdout", "store_views")]
    assert [set(part.rows) for part in parts] == [{"batch_0", "batch_1"}, {"validation_raw", "test_raw"}, set()]


def test_a_step_that_runs_again_deletes_the_results_made_from_its_former_one(run: Run) -> None:
    """And those of no other step."""
    names = ("download", "split", "store_batches", "clean", "train_cumulative_0", "train_cumulative_12", "evaluate")
    with connect(run.context.services.platform_url) as connection:
        for name in (*names, "publish"):
            executions.save_result(connection, run.context.execution, name, {})
    with pytest.raises(ZeroDivisionError):
        run_step(step_named("download"), run.context, run.options, lambda *_: 1 // 0)
    with connect(run.context.services.platform_url) as connection:
        left = executions.load_results(connection, run.context.execution, ".*")
    assert set(left) == {"split", "store_batches", "publish"}


def test_one_set_that_is_trained_again_leaves_those_of_others(run: Run) -> None:
    plan = Plan(experiment_id="", parent_run_id="", configs=(), model_types=(), aim=Aim())
    run_stage(run, "download")
    with connect(run.context.services.platform_url) as connection:
        for name in ("train_cumulative_1", "train_cumulative_11", "aggregate", "select", "evaluate"):
            executions.save_result(connection, run.context.execution, name, {})
        executions.save_result(connection, run.context.execution, "plan", plan.model_dump(mode="json"))
    step = step_named("train_cumulative")
    run_step(step, run.context, run.options, lambda *_: {1: Models(models=())}, cumulative_idx=1)
    with connect(run.context.services.platform_url) as connection:
        left = executions.load_results(connection, run.context.execution, ".*")
    assert set(left) == {"download", "plan", "train_cumulative_1", "train_cumulative_11"}
    assert left["train_cumulative_1"] == {"models": []}


def test_a_failed_stage_keeps_no_result(run: Run) -> None:
    run_stage(run, "download")
    with pytest.raises(BadInputError, match="pipeline split"):
        run_stage(run, "store")
    with pytest.raises(
        BadInputError, match=r"^Step store_batches has not run in execution .*`readmission pipeline store`"
    ):
        load(run.context, "store_batches", StoreResult)


def test_one_run_at_a_time(run: Run) -> None:
    with (
        pipeline_lock(run.context),
        pytest.raises(ServiceDownError, match=f"Another pipeline run is under way: .*process {os.getpid()} on "),
        pipeline_lock(run.context),
    ):
        raise AssertionError("two held the lock")
    with pipeline_lock(run.context):
        pass


def test_the_lock_ends_with_an_error(run: Run) -> None:
    with pytest.raises(ZeroDivisionError), pipeline_lock(run.context):
        raise ZeroDivisionError
    with pipeline_lock(run.context):
        pass


def test_a_swap_that_was_cut_short_is_finished(run: Run) -> None:
    for stage in ("download", "split", "store"):
        run_stage(run, stage)
    services, execution = run.context.services, run.context.execution
    with psycopg.connect(services.platform_url.get_secret_value()) as connection:
        connection.execute("INSERT INTO swaps (execution) VALUES (%s)", [execution])
    with pipeline_lock(run.context):
        pass
    with psycopg.connect(services.raw_url.get_secret_value()) as connection:
        assert connection.execute("SELECT count(*) FROM public.assignment").fetchone() == (3000,)
    with psycopg.connect(services.platform_url.get_secret_value()) as connection:
        assert connection.execute("SELECT count(*) FROM swaps").fetchone() == (0,)


def test_options_are_kept_with_the_execution(run: Run) -> None:
    with psycopg.connect(run.context.services.platform_url.get_secret_value()) as connection:
        assert executions.latest_execution(connection) == run.context.execution
        stored = executions.execution_options(connection, run.context.execution)
    assert Options.model_validate(stored) == run.options


def test_secrets_of_an_address_are_not_kept_and_not_needed_later(run: Run, small_file: Path) -> None:
    secret = f"http://me:hunter2@127.0.0.1:{closed_port()}/stays.csv?token=hunter2"
    begin(run.context, run.options.model_copy(update={"data": secret}))
    with psycopg.connect(run.context.services.platform_url.get_secret_value()) as connection:
        (row,) = connection.execute("SELECT options::text FROM executions").fetchall()
        stored = executions.execution_options(connection, run.context.execution)
    assert "hunter2" not in row[0]
    assert stored["data"] == f"url:http://127.0.0.1:{urlsplit(secret).port}/stays.csv"
    run_stage(replace(run, options=run.options.model_copy(update={"data": str(small_file)})), "download")
    later = replace(run, options=Options.model_validate(stored))
    assert run_stage(later, "split") == load(later.context, "split", SplitResult)
    run_stage(later, "store")


def test_a_source_that_is_none_begins_no_execution(run: Run) -> None:
    with pytest.raises(BadInputError, match="ftp"):
        begin(replace(run.context, execution="refused"), Options(data="ftp://host/x"))
    with psycopg.connect(run.context.services.platform_url.get_secret_value()) as connection:
        assert executions.latest_execution(connection) == run.context.execution
