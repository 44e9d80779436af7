import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from building import column, fetch, relations
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.errors import BadInputError, ServiceDownError
from readmission.services import Services
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.store import (
    Promotion,
    begin_execution,
    create_tables,
    execution_options,
    forget_results,
    latest_execution,
    latest_result,
    load_results,
    log_promotion,
    run_lock,
    save_result,
)

PATIENCE = 15.0
"""Seconds within which the server notices that a client is gone; it takes milliseconds."""

HOLDER = """
import sys, time
from pydantic import SecretStr
from readmission.warehouse.platform import run_lock
with run_lock(SecretStr(sys.argv[1]), "process 4711 on ward9"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def url(warehouse: Services) -> SecretStr:
    create_tables(warehouse.platform_url)
    return warehouse.platform_url


@pytest.fixture
def platform(url: SecretStr) -> Iterator[Connection[TupleRow]]:
    with connect(url, autocommit=True) as connection:
        yield connection


def take_lock(url: SecretStr) -> None:
    with run_lock(url, "second"):
        pass


def refusal(url: SecretStr) -> str:
    with pytest.raises(ServiceDownError) as caught:
        take_lock(url)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_tables_are_created_once(url: SecretStr) -> None:
    tables = {"executions", "stage_results", "swaps", "promotions"}
    assert tables <= relations(url)
    create_tables(url)
    assert tables <= relations(url)


def test_several_starts_at_once_do_not_race(warehouse: Services) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(create_tables, [warehouse.platform_url] * 6))
    assert "promotions" in relations(warehouse.platform_url)


def test_a_second_holder_is_told_who_holds_the_lock(url: SecretStr) -> None:
    with run_lock(url, "process 4711 on ward9"):
        message = refusal(url)
    assert message.startswith("Another pipeline run is under way: readmission pipeline, process 4711 on ward9, since 2")
    assert message.endswith("wait for it to end")


def test_the_lock_is_free_after_the_block(url: SecretStr) -> None:
    take_lock(url)
    take_lock(url)


def fail_while_locked(url: SecretStr) -> None:
    with run_lock(url, "first"):
        raise RuntimeError("stop")


def test_the_lock_is_free_after_an_error(url: SecretStr) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        fail_while_locked(url)
    take_lock(url)


def test_a_refused_holder_does_not_take_the_lock_away(url: SecretStr) -> None:
    with run_lock(url, "first"):
        refusal(url)
        assert "first" in refusal(url)


def test_runs_on_other_databases_do_not_matter(url: SecretStr, warehouse: Services) -> None:
    with run_lock(warehouse.clean_url, "elsewhere"):
        take_lock(url)
        with run_lock(url, "here"):
            assert "here" in refusal(url)


def test_the_lock_of_a_killed_process_is_free(url: SecretStr) -> None:
    command = [sys.executable, "-c", HOLDER, url.get_secret_value()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert "process 4711 on ward9" in refusal(url)
        holder.kill()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            take_lock(url)
        except ServiceDownError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            break


def test_results_come_back(platform: Connection[TupleRow]) -> None:
    result = {"rows": {"batch_0": 3}, "text": "ß", "share": 0.5, "none": None, "list": [1, "a"]}
    begin_execution(platform, "one", {"split": "patient"})
    save_result(platform, "one", "split", result)
    assert load_results(platform, "one", "split") == {"split": result}
    assert execution_options(platform, "one") == {"split": "patient"}


def test_a_stage_that_runs_again_replaces_its_result(platform: Connection[TupleRow], url: SecretStr) -> None:
    begin_execution(platform, "one", {})
    save_result(platform, "one", "split", {"try": 1})
    first = column(url, "SELECT finished_at FROM stage_results")
    save_result(platform, "one", "split", {"try": 2})
    assert load_results(platform, "one", "split") == {"split": {"try": 2}}
    (later,) = column(url, "SELECT finished_at FROM stage_results")
    assert [later] > first


def test_an_execution_that_begins_again_has_its_new_options(platform: Connection[TupleRow]) -> None:
    begin_execution(platform, "one", {"seed": 1})
    save_result(platform, "one", "split", {})
    begin_execution(platform, "one", {"seed": 2})
    assert execution_options(platform, "one") == {"seed": 2}
    assert load_results(platform, "one", "split") == {"split": {}}


def test_results_belong_to_their_execution(platform: Connection[TupleRow]) -> None:
    for number, execution in enumerate(("one", "two")):
        begin_execution(platform, execution, {})
        save_result(platform, execution, "split", {"number": number})
    assert load_results(platform, "one", "split") == {"split": {"number": 0}}


def test_the_latest_execution(platform: Connection[TupleRow]) -> None:
    for execution in ("b", "c", "a"):
        begin_execution(platform, execution, {})
    assert latest_execution(platform) == "a"


def test_what_has_not_run_is_one_line_that_helps(platform: Connection[TupleRow]) -> None:
    with pytest.raises(BadInputError, match=r"^No execution yet: begin with `readmission pipeline download`$"):
        latest_execution(platform)
    with pytest.raises(BadInputError, match=r"^No execution is called one$"):
        execution_options(platform, "one")


def test_results_are_found_by_a_pattern_of_their_names(platform: Connection[TupleRow]) -> None:
    begin_execution(platform, "one", {})
    for step in ("train_cumulative_0", "train_cumulative_10", "aggregate"):
        save_result(platform, "one", step, {"of": step})
    assert set(load_results(platform, "one", "train_cumulative_[0-9]+")) == {
        "train_cumulative_0", "train_cumulative_10",
    }  # fmt: skip
    assert load_results(platform, "one", "clean|[0-9]") == {}
    forget_results(platform, "one", "aggregate|train_cumulative_1")
    assert set(load_results(platform, "one", ".*")) == {"train_cumulative_0", "train_cumulative_10"}


def test_the_latest_result_is_that_of_what_was_published_last(platform: Connection[TupleRow]) -> None:
    assert latest_result(platform, "split") is None
    for execution, published in (("one", True), ("two", True), ("three", False)):
        begin_execution(platform, execution, {})
        save_result(platform, execution, "split", {"of": execution})
        if published:
            save_result(platform, execution, "publish", {})
    assert latest_result(platform, "split") == {"of": "two"}
    assert latest_result(platform, "clean") is None
    save_result(platform, "one", "publish", {})
    assert latest_result(platform, "split") == {"of": "one"}


def test_promotions_are_kept_in_order(platform: Connection[TupleRow], url: SecretStr) -> None:
    first = Promotion(
        actor="pipeline", model_name="m", from_version=None, to_version="1", decision="promoted", reasons=["first one"]
    )
    second = first.model_copy(
        update={"from_version": "1", "to_version": "2", "reasons": ["a", 'say "b"'], "execution": "x"}
    )
    for promotion in (first, second):
        log_promotion(platform, promotion)
    fields = list(Promotion.model_fields)
    query = """
        SELECT actor, model_name, from_version, to_version, decision, reasons, execution FROM promotions
        WHERE at <= now() ORDER BY id
    """
    rows = [Promotion.model_validate(dict(zip(fields, row, strict=True))) for row in fetch(url, query)]
    assert rows == [first, second]


def test_a_promotion_needs_every_field() -> None:
    with pytest.raises(ValueError, match="decision"):
        Promotion.model_validate(
            {"actor": "a", "model_name": "m", "from_version": None, "to_version": "1", "reasons": []}
        )
