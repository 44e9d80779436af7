import psycopg
import pytest
from building import builds_of, column, execute, numbered, relations, sketch_build
from pydantic import SecretStr

from readmission.errors import BadInputError, ServiceDownError
from readmission.services import Services
from readmission.warehouse.builds import build_schema, build_schemas, start_build, swap_in
from readmission.warehouse.connection import connect


@pytest.fixture
def url(warehouse: Services) -> SecretStr:
    return warehouse.clean_url


def make_build(url: SecretStr, execution: str, batches: int) -> None:
    views = numbered("train_cumulative", batches)
    sketch_build(url, execution, ["test_clean", *numbered("batch", batches)], views)


def swap(url: SecretStr, execution: str) -> bool:
    with connect(url) as connection:
        return swap_in(connection, execution)


def names(batches: int) -> set[str]:
    return {"test_clean", *numbered("batch", batches), *numbered("train_cumulative", batches)}


def owners(url: SecretStr) -> set[str]:
    found = set(column(url, "SELECT owner FROM test_clean"))
    return found | set(column(url, "SELECT owner FROM train_cumulative_0"))


@pytest.mark.parametrize(
    ("execution", "schema"),
    [
        ("20260101_120000_123", "build_20260101_120000_123"),
        ("Manual__2026-01-01T00:00:00+00:00", "build_manual__2026_01_01t00_00_00_00_00"),
        ('x"; DROP SCHEMA public; --', "build_x___drop_schema_public____"),
    ],
)
def test_an_execution_names_its_schema(execution: str, schema: str) -> None:
    assert build_schema(execution) == schema


def test_a_build_starts_empty(url: SecretStr) -> None:
    make_build(url, "one", 2)
    with connect(url) as connection:
        start_build(connection, "one")
    assert builds_of(url) == ["build_one"]
    assert relations(url, "build_one") == set()


def test_leftover_builds_are_dropped(url: SecretStr) -> None:
    for execution in ("one", "two", "three"):
        with connect(url) as connection:
            connection.execute(f"CREATE SCHEMA {build_schema(execution)}")  # type: ignore[arg-type]
    make_build(url, "four", 1)
    assert builds_of(url) == ["build_four"]


def test_other_schemas_are_left_alone(url: SecretStr) -> None:
    execute(url, "CREATE SCHEMA building CREATE TABLE plans (number integer)")
    make_build(url, "one", 1)
    assert swap(url, "one")
    assert relations(url, "building") == {"plans"}
    execute(url, "DROP SCHEMA building CASCADE")


def test_builds_are_listed(url: SecretStr) -> None:
    make_build(url, "one", 1)
    with connect(url) as connection:
        assert build_schemas(connection) == ["build_one"]


def test_the_first_swap(url: SecretStr) -> None:
    make_build(url, "one", 2)
    assert relations(url) == set()
    assert swap(url, "one")
    assert relations(url) == names(2)
    assert owners(url) == {"one"}
    assert builds_of(url) == []


def test_a_later_swap_replaces_every_table_and_view(url: SecretStr) -> None:
    for execution in ("one", "two"):
        make_build(url, execution, 2)
        swap(url, execution)
    assert owners(url) == {"two"}
    assert relations(url) == names(2)


@pytest.mark.parametrize(("before", "after"), [(12, 2), (2, 12)])
def test_another_number_of_batches_leaves_nothing_stale(url: SecretStr, before: int, after: int) -> None:
    for execution, batches in (("one", before), ("two", after)):
        make_build(url, execution, batches)
        swap(url, execution)
    assert relations(url) == names(after)


def test_a_second_swap_of_the_same_build_does_nothing(url: SecretStr) -> None:
    make_build(url, "one", 1)
    assert swap(url, "one") is True
    assert swap(url, "one") is False
    assert relations(url) == names(1)


def test_tables_of_the_user_are_left_alone(url: SecretStr) -> None:
    make_build(url, "one", 1)
    swap(url, "one")
    execute(url, "CREATE TABLE notes AS SELECT 'mine' AS owner")
    execute(url, "CREATE TABLE batch_notes AS SELECT 'mine' AS owner")
    execute(url, "CREATE TABLE batch_1x AS SELECT 'mine' AS owner")
    execute(url, "CREATE VIEW report AS SELECT * FROM notes")
    execute(url, "CREATE TABLE split_memory AS SELECT 'kept' AS owner")
    make_build(url, "two", 1)
    swap(url, "two")
    assert relations(url) == {*names(1), "notes", "batch_notes", "batch_1x", "report", "split_memory"}
    assert column(url, "SELECT owner FROM report UNION SELECT owner FROM batch_notes") == ["mine"]
    assert column(url, "SELECT owner FROM split_memory") == ["kept"]


def test_a_view_of_the_user_over_our_tables_stops_the_swap_with_advice(url: SecretStr) -> None:
    make_build(url, "one", 1)
    swap(url, "one")
    execute(url, "CREATE VIEW report AS SELECT * FROM test_clean")
    make_build(url, "two", 1)
    with pytest.raises(BadInputError, match=r"view report depends on table test_clean") as caught:
        swap(url, "two")
    assert "\n" not in str(caught.value)
    assert owners(url) == {"one"}
    assert builds_of(url) == ["build_two"]
    execute(url, "DROP VIEW report")
    assert swap(url, "two")


def swap_and_fail(url: SecretStr, execution: str) -> None:
    with connect(url) as connection:
        swap_in(connection, execution)
        raise RuntimeError("stop")


def test_a_swap_that_fails_leaves_the_old_set(url: SecretStr) -> None:
    make_build(url, "one", 3)
    swap(url, "one")
    make_build(url, "two", 1)
    with pytest.raises(RuntimeError, match="stop"):
        swap_and_fail(url, "two")
    assert relations(url) == names(3)
    assert owners(url) == {"one"}
    assert relations(url, "build_two") == names(1)


def test_a_reader_sees_the_old_set_until_the_new_one_is_whole(url: SecretStr) -> None:
    make_build(url, "one", 1)
    swap(url, "one")
    make_build(url, "two", 1)
    assert owners(url) == {"one"}
    with connect(url) as swapping:
        assert swap_in(swapping, "two")
        query = "SELECT count(*) FROM pg_class WHERE relname = 'test_clean' AND relnamespace = 'public'::regnamespace"
        assert column(url, query) == [1]  # the catalogue, for the tables themselves are locked
    assert owners(url) == {"two"}


def test_a_reader_under_way_is_not_disturbed(url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readmission.warehouse.builds.LOCK_SECONDS", 1)
    make_build(url, "one", 1)
    swap(url, "one")
    make_build(url, "two", 1)
    with psycopg.connect(url.get_secret_value()) as reader:
        assert reader.execute("SELECT owner FROM train_cumulative_0").fetchall() == [("one",)]
        with psycopg.connect(url.get_secret_value()) as swapping:
            with pytest.raises(ServiceDownError, match="another session has held train_cumulative_0"):
                swap_in(swapping, "two")
            swapping.rollback()
        assert reader.execute("SELECT owner FROM train_cumulative_0").fetchall() == [("one",)]
    assert swap(url, "two")
    assert owners(url) == {"two"}
