"""Executions, and the results of their steps."""

import pytest
from building import column
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.errors import BadInputError
from readmission.warehouse.metadata.executions import (
    begin_execution,
    execution_options,
    forget_results,
    latest_execution,
    latest_result,
    load_results,
    save_result,
)


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
