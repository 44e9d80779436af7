from collections.abc import Iterator
from pathlib import Path

import pytest

from readmission import schema
from readmission.dataset.synthetic.aggregates import (
    MIN_CELL,
    PARENTS,
    PATIENT_PARENTS,
    TABLES_FILE,
    TREATMENT,
    TREATMENT_COLUMNS,
    Group,
    Tables,
    build_tables,
    load_tables,
    main,
    save_tables,
)
from readmission.dataset.synthetic.network import Network
from readmission.dataset.synthetic.records import write_synthetic
from readmission.errors import BadInputError


@pytest.fixture(scope="module")
def tables() -> Tables:
    return load_tables()


@pytest.fixture(scope="module")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.csv"
    write_synthetic(path, 20_000)
    return path


@pytest.fixture(scope="module")
def small(small_csv: Path) -> Tables:
    return build_tables(small_csv)


def all_groups(tables: Tables) -> Iterator[Group]:
    for members in tables["groups"].values():
        yield from members
    yield tables["sizes"]
    yield from tables["extras"].values()


def check_suppressed(tables: Tables) -> None:
    counts = [count for group in all_groups(tables) for count in group["counts"]]
    cells = [count for node in tables["nodes"].values() for table in node["tables"] for count in table["counts"]]
    assert min(counts) >= MIN_CELL
    assert min(cells) >= MIN_CELL
    assert len(cells) > 1000


def test_no_small_cell_is_committed(tables: Tables) -> None:
    assert MIN_CELL == tables["minimum_cell"] == 11
    check_suppressed(tables)


def test_small_cells_of_another_file_are_suppressed_too(small: Tables) -> None:
    check_suppressed(small)


def test_the_committed_file_is_small() -> None:
    assert TABLES_FILE.stat().st_size < 300_000


def test_the_committed_tables_are_those_of_the_published_file(real_csv: Path, tables: Tables) -> None:
    assert build_tables(real_csv) == tables


def test_no_identifier_is_committed(tables: Tables) -> None:
    assert not set(schema.IDENTIFIERS) & set(tables["groups"])
    numbers = [value for group in all_groups(tables) for value in group["values"] if value.isdigit()]
    assert max(len(value) for value in numbers) <= 3


def test_every_column_is_covered(tables: Tables) -> None:
    described = {column.name for column in schema.RECORD_COLUMNS}
    assert (set(tables["groups"]) - {TREATMENT}) | set(TREATMENT_COLUMNS) == described
    assert set(tables["nodes"]) == {*PARENTS, *PATIENT_PARENTS, schema.LABEL_COLUMN, "step"}


def test_values_are_known_words(tables: Tables) -> None:
    for name, members in tables["groups"].items():
        if name != TREATMENT and schema.BY_NAME[name].levels:
            values = {value for group in members for value in group["values"]}
            assert values <= {*schema.BY_NAME[name].levels, schema.MISSING}
    for group in tables["groups"][TREATMENT]:
        for treatment in group["values"]:
            for name, value in zip(TREATMENT_COLUMNS, treatment.split(","), strict=True):
                assert value in schema.BY_NAME[name].levels


@pytest.mark.parametrize("which", ["tables", "small"])
def test_groups_and_cells_fit_each_other(which: str, request: pytest.FixtureRequest) -> None:
    tables: Tables = request.getfixturevalue(which)
    levels = {name: len(members) for name, members in tables["groups"].items()}
    levels |= {"size": 6, "later": 2, "step": 2, schema.LABEL_COLUMN: 3, "last_label": 3}
    assert all(group["values"] for members in tables["groups"].values() for group in members)
    for name, node in tables["nodes"].items():
        contexts = 1
        for table, parent in zip(node["tables"], [*node["parents"], None], strict=True):
            assert max(table["cells"]) < contexts * (levels[name] + 1)
            assert len(table["cells"]) == len(table["counts"])
            contexts *= levels[parent] if parent else 1


def test_deeper_tables_count_no_more_rows(tables: Tables) -> None:
    for node in tables["nodes"].values():
        totals = [sum(table["counts"]) for table in node["tables"]]
        assert totals == sorted(totals, reverse=True)
        assert totals[0] <= tables["rows"]


def test_parents_are_drawn_before_their_children() -> None:
    drawn = {schema.LABEL_COLUMN, *PATIENT_PARENTS}
    for name, parents in PARENTS.items():
        assert set(parents) <= drawn
        drawn.add(name)


def test_tables_of_another_file_can_be_drawn_from(small: Tables) -> None:
    network = Network.build(small)
    assert set(network.variables) == set(small["nodes"])
    assert set(network.words) == set(small["groups"])


def test_stored_tables_are_read_back(tmp_path: Path, small: Tables) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    save_tables(small, first)
    save_tables(load_tables(first), second)
    assert load_tables(second) == small
    assert first.read_bytes() == second.read_bytes()


def test_the_module_can_be_run(tmp_path: Path, small_csv: Path, small: Tables) -> None:
    output = tmp_path / "tables.json.gz"
    assert main([str(small_csv), "--output", str(output)]) == 0
    assert load_tables(output) == small


def test_a_wrong_file_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")
    assert main([str(wrong), "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "wrong.csv" in message
    assert not (tmp_path / "out").exists()


def test_a_file_with_few_rows_is_refused(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "few.csv", 100)
    with pytest.raises(BadInputError, match="100 rows are too few"):
        build_tables(tmp_path / "few.csv")
