import csv
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from building import build, builds_of, column, draw_assignment, fetch, relations, store
from psycopg.rows import dict_row

from readmission.dataset.csvfile import open_batches
from readmission.features.columns import ARROW_TYPES, clean_columns
from readmission.features.record import clean_record
from readmission.features.rules import FEATURE_TYPES
from readmission.services import Services
from readmission.warehouse.builds import build_schema, start_build
from readmission.warehouse.clean import clean_build, count_rows, cumulative_views, read_clean
from readmission.warehouse.connection import connect
from readmission.warehouse.raw import Assignment
from readmission.warehouse.swap import swap

EXECUTION = "small"
SCHEMA = build_schema(EXECUTION)
BATCHES = 3
TABLES = ("train_clean", "validation_clean", "test_clean")


@pytest.fixture
def cleaned(databases: Services, small_csv: Path) -> Assignment:
    """A build of the small file; made again only where another test has dropped it."""
    assignment = draw_assignment(small_csv, BATCHES)
    if SCHEMA not in builds_of(databases.clean_url) + builds_of(databases.raw_url):
        rows = build(databases, EXECUTION, small_csv, assignment)
        assert rows == dict(zip(TABLES, np.bincount(assignment.split).tolist(), strict=True))
    return assignment


def stored_rows(services: Services, name: str) -> list[dict[str, object]]:
    with psycopg.connect(services.clean_url.get_secret_value(), row_factory=dict_row) as connection:
        return connection.execute(f"SELECT * FROM {SCHEMA}.{name} ORDER BY row_id").fetchall()  # type: ignore[arg-type]


def expected_rows(path: Path, assignment: Assignment, part: int) -> list[dict[str, object]]:
    """Cleaned one by one, as the API would."""
    with path.open(newline="") as file:
        numbered = list(enumerate(csv.DictReader(file), 1))
    return [
        {
            "row_id": row_id,
            "encounter_id": int(raw["encounter_id"]),
            "patient_nbr": int(raw["patient_nbr"]),
            "batch_id": int(assignment.batch_id[row_id - 1]) if part == 0 else None,
            **clean_record(raw),
            "readmitted": raw["readmitted"],
        }
        for row_id, raw in numbered
        if assignment.split[row_id - 1] == part
    ]


@pytest.mark.parametrize(("part", "name"), list(enumerate(TABLES)))
def test_tables_hold_each_row_cleaned(
    databases: Services, cleaned: Assignment, small_csv: Path, part: int, name: str
) -> None:
    assert stored_rows(databases, name) == expected_rows(small_csv, cleaned, part)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_typed(databases: Services, cleaned: Assignment, name: str) -> None:
    query = """
        SELECT column_name::text, data_type::text, is_nullable::text FROM information_schema.columns
        WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
    """
    keys = [(key, "bigint", "NO") for key in ("row_id", "encounter_id", "patient_nbr")]
    features = [(feature, dtype, "YES") for feature, dtype in FEATURE_TYPES.items()]
    label = ("readmitted", "text", "NO")
    assert fetch(databases.clean_url, query, SCHEMA, name) == [*keys, ("batch_id", "smallint", "YES"), *features, label]


def test_missing_is_null_and_not_measured_is_a_word(databases: Services, cleaned: Assignment) -> None:
    query = """
        SELECT count(*) FILTER (WHERE weight IS NULL) > 100, count(*) FILTER (WHERE payer_code IS NULL) > 50,
               count(*) FILTER (WHERE max_glu_serum = 'None') > 100, count(*) FILTER (WHERE max_glu_serum IS NULL)
        FROM build_small.train_clean
    """
    assert fetch(databases.clean_url, query) == [(True, True, True, 0)]


def test_no_value_is_a_question_mark(databases: Services, cleaned: Assignment) -> None:
    words = {value for name in TABLES for row in stored_rows(databases, name) for value in row.values()}
    assert "?" not in words
    assert None in words


def test_each_cumulative_view_holds_its_batches(databases: Services, cleaned: Assignment) -> None:
    train = stored_rows(databases, "train_clean")
    for last in range(BATCHES):
        expected = [row for row in train if int(str(row["batch_id"])) <= last]
        assert stored_rows(databases, f"train_cumulative_{last}") == expected


def test_the_build_holds_nothing_else(databases: Services, cleaned: Assignment) -> None:
    views = {f"train_cumulative_{number}" for number in range(BATCHES)}
    assert relations(databases.clean_url, SCHEMA) == {*TABLES, *views}


def test_cleaning_again_replaces(databases: Services, cleaned: Assignment) -> None:
    before = {name: stored_rows(databases, name) for name in (*TABLES, "train_cumulative_1")}
    clean_build(databases, EXECUTION, BATCHES)
    assert {name: stored_rows(databases, name) for name in before} == before


@pytest.mark.parametrize("name", ["train_cumulative_1", "validation_clean"])
def test_training_reads_what_the_file_holds_in_its_order(
    databases: Services, cleaned: Assignment, small_csv: Path, name: str
) -> None:
    split = 0 if name.startswith("train") else 1
    chosen = (cleaned.split == split) & (cleaned.batch_id <= 1)
    raw = pa.Table.from_batches(open_batches(small_csv)).take(pa.array(np.flatnonzero(chosen)))
    with connect(databases.clean_url) as clean:
        table = read_clean(clean, name, SCHEMA)
    assert table.column_names == ["patient_nbr", *FEATURE_TYPES, "readmitted"]
    assert table.drop(["patient_nbr", "readmitted"]).to_pylist() == clean_columns(raw).to_pylist()
    patients = raw["patient_nbr"].cast(pa.string()).to_pylist()
    assert [str(number) for number in table["patient_nbr"].to_pylist()] == patients
    assert table["readmitted"].to_pylist() == raw["readmitted"].to_pylist()


def test_training_reads_words_as_dictionaries(databases: Services, cleaned: Assignment) -> None:
    with connect(databases.clean_url) as clean:
        table = read_clean(clean, "train_cumulative_2", SCHEMA)
    for name, dtype in FEATURE_TYPES.items():
        kind = table.schema.field(name).type
        assert kind == (pa.dictionary(pa.int32(), pa.string()) if dtype == "text" else ARROW_TYPES[dtype])
        assert table[name].num_chunks == 1


def test_an_empty_table_can_be_read(databases: Services, cleaned: Assignment) -> None:
    with connect(databases.clean_url) as clean:
        clean.execute("DELETE FROM build_small.validation_clean")
        table = read_clean(clean, "validation_clean", SCHEMA)
        clean.rollback()
    assert (table.num_rows, table.num_columns) == (0, len(FEATURE_TYPES) + 2)


def test_rows_are_counted(databases: Services, cleaned: Assignment) -> None:
    names = ["train_cumulative_0", "train_clean", "test_clean"]
    expected = [(cleaned.batch_id == 0).sum(), (cleaned.split == 0).sum(), (cleaned.split == 2).sum()]
    with connect(databases.clean_url) as clean:
        assert list(count_rows(clean, names, SCHEMA)) == expected


def test_current_views_are_in_the_order_of_their_numbers(warehouse: Services, small_csv: Path) -> None:
    with connect(warehouse.clean_url) as clean:
        assert cumulative_views(clean) == []
    build(warehouse, "many", small_csv, draw_assignment(small_csv, 12))
    with connect(warehouse.clean_url) as clean:
        assert cumulative_views(clean) == []
    swap(warehouse, "many")
    with connect(warehouse.clean_url) as clean:
        assert cumulative_views(clean) == [f"train_cumulative_{number}" for number in range(12)]
        assert read_clean(clean, "train_cumulative_11").num_rows == next(count_rows(clean, ["train_clean"]))


def test_a_table_that_cannot_be_cleaned_leaves_the_current_set(warehouse: Services, small_csv: Path) -> None:
    build(warehouse, "one", small_csv, draw_assignment(small_csv, 2))
    swap(warehouse, "one")
    before = column(warehouse.clean_url, "SELECT row_id FROM train_clean ORDER BY row_id")
    store(warehouse, "two", small_csv, draw_assignment(small_csv, 1))
    with connect(warehouse.raw_url) as raw:
        raw.execute("UPDATE build_two.batch_0 SET num_medications = 'many' WHERE row_id > 300")
    with connect(warehouse.clean_url) as clean:
        start_build(clean, "two")
    with pytest.raises(ValueError, match="invalid literal"):
        clean_build(warehouse, "two", 1)
    assert column(warehouse.clean_url, "SELECT row_id FROM train_clean ORDER BY row_id") == before


def test_the_real_file(warehouse: Services, real_csv: Path) -> None:
    assignment = draw_assignment(real_csv, 5)
    rows = build(warehouse, "real", real_csv, assignment)
    assert sum(rows.values()) == 101_766
    query = "SELECT row_id, batch_id, encounter_id FROM build_real.train_clean ORDER BY row_id"
    training = np.flatnonzero(assignment.split == 0)
    expected = np.column_stack([training + 1, assignment.batch_id[training], assignment.encounter_id[training]])
    np.testing.assert_array_equal(np.array(fetch(warehouse.clean_url, query)), expected)
    counts = (
        "SELECT readmitted, count(*) FROM (TABLE build_real.train_clean UNION ALL TABLE build_real.validation_clean \
UNION ALL TABLE build_real.test_clean) AS every GROUP BY 1"
    )
    assert dict(fetch(warehouse.clean_url, counts)) == {"NO": 54_864, ">30": 35_545, "<30": 11_357}
