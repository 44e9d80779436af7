"""Running stages on one machine: results are kept, the lock is held, an unknown stage order is refused."""

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
from readmission.orchestration.runner import STAGES, Run, begin, pipeline_lock, run_stage
from readmission.results import Options, SplitResult
from readmission.services import resolve_services
from readmission.settings import Settings
from readmission.warehouse.metadata import store as platform_db

NAMES = ["download", "split", "store", "clean", "plan", "train", "select", "publish"]


@pytest.fixture
def told() -> list[Progress]:
    return []


@pytest.fixture
def run(new_platform: Callable[..., Settings], told: list[Progress]) -> Iterator[Run]:
    """An execution that has begun; its processes are never started."""
    settings = new_platform()
    context = Context(settings, resolve_services(settings), new_execution(), told.append)
    platform_db.create_tables(context.services.platform_url)
    with ProcessPoolExecutor(1) as pool:
        made = Run(context, Options(data="synthetic:3000", batches=2), pool)
        begin(context, made.options)
        yield made


def test_stages_are_those_of_the_command_line() -> None:
    assert list(STAGES) == NAMES


def test_results_are_kept_for_later_stages(run: Run, told: list[Progress]) -> None:
    downloaded = run_stage(run, "download")
    assert run.dataset == downloaded == run.load("download", Dataset)
    split = run_stage(run, "split")
    assert run.load("split", SplitResult) == split
    lines = [step.what for step in told if not step.total]
    assert [line for line in lines if "started" in line] == ["download: started", "split: started"]
    assert sum(" done in " in line for line in lines) == 2


def test_a_stage_before_its_time_says_what_to_run(run: Run) -> None:
    with pytest.raises(BadInputError, match="pipeline download"):
        run_stage(run, "split")


def test_a_failed_stage_keeps_no_result(run: Run) -> None:
    run_stage(run, "download")
    with pytest.raises(BadInputError, match="pipeline split"):
        run_stage(run, "store")
    with pytest.raises(BadInputError, match="pipeline store"):
        run.load("store", SplitResult)


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
        assert platform_db.latest_execution(connection) == run.context.execution
        stored = platform_db.execution_options(connection, run.context.execution)
    assert Options.model_validate(stored) == run.options


def test_secrets_of_an_address_are_not_kept_and_not_needed_later(run: Run, small_file: Path) -> None:
    secret = f"http://me:hunter2@127.0.0.1:{closed_port()}/stays.csv?token=hunter2"
    begin(run.context, run.options.model_copy(update={"data": secret}))
    with psycopg.connect(run.context.services.platform_url.get_secret_value()) as connection:
        (row,) = connection.execute("SELECT options::text FROM executions").fetchall()
        stored = platform_db.execution_options(connection, run.context.execution)
    assert "hunter2" not in row[0]
    assert stored["data"] == f"url:http://127.0.0.1:{urlsplit(secret).port}/stays.csv"
    run_stage(replace(run, options=run.options.model_copy(update={"data": str(small_file)})), "download")
    later = replace(run, options=Options.model_validate(stored))
    assert run_stage(later, "split") == later.load("split", SplitResult)
    run_stage(later, "store")


def test_a_source_that_is_none_begins_no_execution(run: Run) -> None:
    with pytest.raises(BadInputError, match="ftp"):
        begin(replace(run.context, execution="refused"), Options(data="ftp://host/x"))
    with psycopg.connect(run.context.services.platform_url.get_secret_value()) as connection:
        assert platform_db.latest_execution(connection) == run.context.execution
