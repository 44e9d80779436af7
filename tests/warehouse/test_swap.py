import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from building import builds_of, column, execute, numbered, relations, sketch_build
from pydantic import SecretStr

from readmission.errors import BadInputError, ServiceDownError
from readmission.services import Services
from readmission.warehouse.builds import current_execution, start_build, swap_in
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.migrate import migrate
from readmission.warehouse.split_assignments import commit_assignments, save_new_assignments
from readmission.warehouse.swap import finish_swaps, swap

PATIENCE = 15.0

CLEAN = {"train_clean", "validation_clean", "test_clean"}
RAW = {"assignment", "validation_raw", "test_raw", "train_raw", "split_memory"}


@dataclass(frozen=True)
class Sets:
    """What readers see in both databases."""

    raw: set[str]
    clean: set[str]
    rows: list[int]


def current(services: Services) -> Sets:
    rows = column(services.clean_url, "SELECT count(*) FROM train_cumulative_0")
    return Sets(relations(services.raw_url), relations(services.clean_url), rows)


def expected(batches: int, rows: int) -> Sets:
    views = numbered("train_cumulative", batches)
    return Sets({*RAW, *views, *numbered("batch", batches)}, {*CLEAN, *views}, [rows])


def make_build(services: Services, execution: str, batches: int, rows: int) -> Sets:
    """Build both halves; answer what will be current after the swap."""
    views = numbered("train_cumulative", batches)
    tables = [*numbered("batch", batches), "assignment", "validation_raw", "test_raw"]
    sketch_build(services.raw_url, execution, tables, [*views, "train_raw"], rows)
    sketch_build(services.clean_url, execution, sorted(CLEAN), views, rows)
    with connect(services.raw_url) as raw:
        save_new_assignments(raw, execution, "patient", np.arange(rows), np.zeros(rows, np.int8))
    return expected(batches, rows)


def pending(services: Services) -> list[str]:
    return column(services.platform_url, "SELECT execution FROM swaps")


@pytest.fixture
def first(warehouse: Services) -> Sets:
    """A set of three batches that is current."""
    migrate(warehouse.platform_url)
    sets = make_build(warehouse, "one", batches=3, rows=30)
    swap(warehouse, "one")
    assert current(warehouse) == sets
    return sets


@pytest.fixture
def second(warehouse: Services, first: Sets) -> Sets:
    """A build of two batches, not swapped in yet: what will be current then."""
    return make_build(warehouse, "two", batches=2, rows=20)


def swap_raw_half(services: Services, execution: str) -> None:
    """What a swap does before it is killed between the two databases."""
    with connect(services.platform_url) as platform:
        platform.execute("INSERT INTO swaps (execution) VALUES (%s)", [execution])
    with connect(services.raw_url) as raw:
        commit_assignments(raw, execution)
        swap_in(raw, execution)


def test_until_the_swap_the_old_set_is_current(warehouse: Services, first: Sets, second: Sets) -> None:
    assert current(warehouse) == first


def test_the_swap_makes_the_new_set_current_in_both_databases(warehouse: Services, first: Sets, second: Sets) -> None:
    swap(warehouse, "two")
    assert current(warehouse) == second
    assert builds_of(warehouse.raw_url) == builds_of(warehouse.clean_url) == []
    assert pending(warehouse) == []


def test_a_swap_cut_short_between_the_databases_is_finished(warehouse: Services, first: Sets, second: Sets) -> None:
    swap_raw_half(warehouse, "two")
    assert current(warehouse) == Sets(second.raw, first.clean, first.rows)
    finish_swaps(warehouse)
    assert current(warehouse) == second
    assert pending(warehouse) == []


def test_a_swap_cut_short_before_it_began_is_finished(warehouse: Services, first: Sets, second: Sets) -> None:
    execute(warehouse.platform_url, "INSERT INTO swaps (execution) VALUES ('two')")
    finish_swaps(warehouse)
    assert current(warehouse) == second
    assert pending(warehouse) == []


def test_a_swap_cut_short_at_its_very_end_is_finished(warehouse: Services, first: Sets, second: Sets) -> None:
    swap(warehouse, "two")
    execute(warehouse.platform_url, "INSERT INTO swaps (execution) VALUES ('two')")
    finish_swaps(warehouse)
    assert current(warehouse) == second
    assert pending(warehouse) == []


def test_finishing_nothing_changes_nothing(warehouse: Services, first: Sets) -> None:
    finish_swaps(warehouse)
    finish_swaps(warehouse)
    assert current(warehouse) == first


def test_a_swap_whose_build_is_gone_is_forgotten(warehouse: Services, first: Sets, second: Sets) -> None:
    execute(warehouse.platform_url, "INSERT INTO swaps (execution) VALUES ('two')")
    for url in (warehouse.raw_url, warehouse.clean_url):
        with connect(url) as connection:
            start_build(connection, "three")
    finish_swaps(warehouse)
    assert current(warehouse) == first
    assert pending(warehouse) == []


def test_a_second_swap_does_nothing(warehouse: Services, first: Sets) -> None:
    swap(warehouse, "one")
    assert current(warehouse) == first


def test_new_assignments_are_stored_once(warehouse: Services, first: Sets, second: Sets) -> None:
    count = "SELECT count(*) FROM split_memory"
    assert column(warehouse.raw_url, count) == [30]
    swap_raw_half(warehouse, "two")
    finish_swaps(warehouse)
    assert column(warehouse.raw_url, count) == [30 + 20]


def test_a_build_without_new_assignments_can_be_swapped_in(warehouse: Services, first: Sets, second: Sets) -> None:
    execute(warehouse.raw_url, "DROP TABLE build_two.fresh_parts")
    swap(warehouse, "two")
    assert current(warehouse) == second


@pytest.mark.parametrize("side", ["raw", "clean"])
def test_a_swap_that_fails_leaves_the_old_set_and_can_be_repeated(
    warehouse: Services, first: Sets, second: Sets, side: str
) -> None:
    url, table = (warehouse.raw_url, "batch_0") if side == "raw" else (warehouse.clean_url, "train_clean")
    execute(url, f"CREATE VIEW report AS SELECT * FROM {table}")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="report"):
        swap(warehouse, "two")
    execute(url, "DROP VIEW report")
    assert current(warehouse) == first
    assert pending(warehouse) == []
    swap(warehouse, "two")
    assert current(warehouse) == second


def waiting_readers(url: SecretStr) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return int(column(url, query)[0])


def test_a_reader_who_waits_for_the_swap_sees_the_new_set(warehouse: Services, first: Sets, second: Sets) -> None:
    seen: list[int] = []
    query = "SELECT count(*) FROM train_cumulative_0"
    reader = threading.Thread(target=lambda: seen.extend(column(warehouse.clean_url, query)))
    with connect(warehouse.clean_url) as swapping:
        swap_in(swapping, "two")
        reader.start()
        deadline = time.monotonic() + PATIENCE
        while not waiting_readers(warehouse.clean_url):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert seen == []
    reader.join(PATIENCE)
    assert seen == second.rows


def test_a_session_that_holds_a_table_is_not_waited_for_for_ever(
    warehouse: Services, first: Sets, second: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readmission.warehouse.builds.LOCK_SECONDS", 1)
    with connect(warehouse.clean_url) as reader:
        reader.execute("SELECT count(*) FROM train_clean")
        with pytest.raises(ServiceDownError, match="another session has held train_clean"):
            swap(warehouse, "two")
    assert current(warehouse) == first
    finish_swaps(warehouse)
    assert current(warehouse) == second


def test_current_tables_name_their_execution(warehouse: Services, first: Sets, second: Sets) -> None:
    def owner(table: str) -> str | None:
        with connect(warehouse.clean_url) as clean:
            return current_execution(clean, table)

    assert owner("train_clean") == "one"
    swap(warehouse, "two")
    assert owner("train_clean") == "two"
    assert owner("no_such_table") is None


def test_without_any_earlier_set(warehouse: Services) -> None:
    migrate(warehouse.platform_url)
    finish_swaps(warehouse)
    assert relations(warehouse.raw_url) == set()
