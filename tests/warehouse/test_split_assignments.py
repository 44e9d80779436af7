from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import column, fetch, relations

from readmission.context import Context
from readmission.dataset.acquire import acquire
from readmission.dataset.row_keys import read_keys
from readmission.dataset.source_file import Dataset, silent
from readmission.dataset.split import UNASSIGNED
from readmission.dataset.splits import SPLITS
from readmission.dataset.synthetic.records import write_synthetic
from readmission.orchestration import data_stages as pipeline
from readmission.results import Options, SplitResult
from readmission.services import Services
from readmission.settings import Settings
from readmission.warehouse.builds import start_build
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata.migrate import migrate
from readmission.warehouse.split_assignments import commit_assignments, load_assignments, save_new_assignments

RunStages = Callable[[str, Dataset, Options], SplitResult]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def load(services: Services, grouping: str, *keys: int) -> list[int]:
    with connect(services.raw_url) as raw:
        return load_assignments(raw, grouping, ints(*keys)).tolist()


def save(services: Services, grouping: str, parts: dict[int, int]) -> None:
    with connect(services.raw_url) as raw:
        start_build(raw, "one")
        save_new_assignments(raw, "one", grouping, ints(*parts), np.array(list(parts.values()), np.int8))
        commit_assignments(raw, "one")


def test_at_first_no_group_has_a_split(warehouse: Services) -> None:
    assert load(warehouse, "patient", 1, 2) == [UNASSIGNED, UNASSIGNED]


def test_saved_assignments_are_loaded(warehouse: Services) -> None:
    save(warehouse, "patient", {30: 2, 10: 0, 20: 1, 99: 2})
    assert load(warehouse, "patient", 5, 10, 15, 20, 30, 40) == [UNASSIGNED, 0, UNASSIGNED, 1, 2, UNASSIGNED]
    assert load(warehouse, "patient", 5) == [UNASSIGNED]
    assert load(warehouse, "patient") == []


def test_patients_and_encounters_are_stored_separately(warehouse: Services) -> None:
    save(warehouse, "patient", {10: 0})
    save(warehouse, "encounter", {10: 2})
    assert (load(warehouse, "patient", 10), load(warehouse, "encounter", 10)) == ([0], [2])


def test_later_groups_are_added(warehouse: Services) -> None:
    save(warehouse, "patient", {10: 0})
    save(warehouse, "patient", {20: 1})
    assert load(warehouse, "patient", 10, 20) == [0, 1]


def test_new_assignments_are_not_loaded_before_the_swap(warehouse: Services) -> None:
    with connect(warehouse.raw_url) as raw:
        start_build(raw, "one")
        save_new_assignments(raw, "one", "patient", ints(10), np.array([2], np.int8))
    assert load(warehouse, "patient", 10) == [UNASSIGNED]


def test_no_new_groups(warehouse: Services) -> None:
    save(warehouse, "patient", {10: 0})
    save(warehouse, "patient", {})
    assert load(warehouse, "patient", 10) == [0]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file, and the same with more rows, some of them of patients that the first one has."""
    folder = tmp_path_factory.mktemp("files")
    write_synthetic(folder / "whole.csv", 3_000)
    lines = (folder / "whole.csv").read_bytes().splitlines(keepends=True)
    later = set(np.random.default_rng(5).permutation(3_000)[:1_000].tolist())
    rows = [line for number, line in enumerate(lines[1:]) if number not in later]
    (folder / "early.csv").write_bytes(b"".join([lines[0], *rows]))
    return folder / "early.csv", folder / "whole.csv"


@pytest.fixture(scope="module")
def datasets(stack: Settings, services: Services, files: tuple[Path, Path]) -> list[Dataset]:
    return [acquire(stack, services, str(path), silent) for path in files]


@pytest.fixture
def run(stack: Settings, warehouse: Services) -> RunStages:
    """Splits, stores, cleans and swaps in, as a run of the pipeline does."""
    migrate(warehouse.platform_url)

    def run_stages(execution: str, dataset: Dataset, options: Options) -> SplitResult:
        context = Context(stack, warehouse, execution)
        result = pipeline.split(context, dataset, options)
        pipeline.store_batches(context, dataset, result)
        pipeline.store_views(context, result)
        pipeline.store_holdout(context, dataset)
        pipeline.clean(context, result, options)
        return result

    return run_stages


def splits_of_patients(services: Services) -> dict[int, str]:
    """Split of each patient, from the clean tables."""
    found: dict[int, str] = {}
    for part in SPLITS:
        for patient in column(services.clean_url, f"SELECT DISTINCT patient_nbr FROM {part}_clean"):  # type: ignore[arg-type]
            assert patient not in found
            found[patient] = str(part)
    return found


def test_patients_keep_their_split_when_new_rows_arrive(
    warehouse: Services, run: RunStages, datasets: list[Dataset], files: tuple[Path, Path]
) -> None:
    early, whole = datasets
    first = run("one", early, Options(batches=2))
    before = splits_of_patients(warehouse)
    assert first.remembered == 0
    second = run("two", whole, Options(batches=3))
    after = splits_of_patients(warehouse)
    assert second.remembered == len(before)
    assert {patient: after[patient] for patient in before} == before
    assert set(after) == set(read_keys(files[1]).patient_nbr.tolist())
    assert len(after) > len(before)
    # New patients are assigned to all splits, and each patient is stored once.
    assert len({after[patient] for patient in set(after) - set(before)}) == 3
    stored = fetch(warehouse.raw_url, "SELECT key, part FROM split_memory WHERE grouping = 'patient'")
    assert {key: str(SPLITS[part]) for key, part in stored} == after
    assert len(stored) == len(after)


def test_the_same_file_again_is_split_the_same(warehouse: Services, run: RunStages, datasets: list[Dataset]) -> None:
    run("one", datasets[0], Options(batches=2))
    before = splits_of_patients(warehouse)
    run("two", datasets[0], Options(batches=2))
    assert splits_of_patients(warehouse) == before


def test_an_experiment_loads_no_assignments_and_saves_its_own(
    warehouse: Services, run: RunStages, datasets: list[Dataset]
) -> None:
    run("one", datasets[0], Options(batches=2))
    before, query = splits_of_patients(warehouse), "SELECT grouping, key, part FROM split_memory ORDER BY 1, 2"
    stored = fetch(warehouse.raw_url, query)
    experiment = run("two", datasets[1], Options(batches=2, seed=7))
    during = splits_of_patients(warehouse)
    assert (experiment.remembered, experiment.seed) == (0, 7)
    assert sum(during[patient] != part for patient, part in before.items()) > len(before) / 10
    after = fetch(warehouse.raw_url, query)
    assert [row for row in after if row[0] == "patient"] == stored
    own = {key: part for grouping, key, part in after if grouping == experiment.assignment}
    assert experiment.assignment == "patient:two"
    assert {patient: ("train", "validation", "test")[part] for patient, part in own.items()} == during
    run("three", datasets[0], Options(batches=2))
    assert splits_of_patients(warehouse) == before


def test_an_experiment_may_come_first(warehouse: Services, run: RunStages, datasets: list[Dataset]) -> None:
    run("one", datasets[0], Options(batches=2, seed=7))
    once = splits_of_patients(warehouse)
    assert load(warehouse, "patient", *sorted(once)) == [UNASSIGNED] * len(once)
    run("two", datasets[0], Options(batches=2, seed=7))
    assert splits_of_patients(warehouse) == once


def test_a_run_that_ends_before_the_swap_saves_nothing(
    warehouse: Services, stack: Settings, run: RunStages, datasets: list[Dataset]
) -> None:
    pipeline.split(Context(stack, warehouse, "one"), datasets[0], Options())
    assert "split_memory" not in relations(warehouse.raw_url)
    assert run("two", datasets[0], Options(batches=2)).remembered == 0


def test_encounters_are_assigned_separately_from_patients(
    warehouse: Services, run: RunStages, datasets: list[Dataset]
) -> None:
    run("one", datasets[0], Options(batches=2))
    assert run("two", datasets[0], Options(batches=2, split="encounter")).remembered == 0
    assert run("three", datasets[1], Options(batches=2, split="encounter")).remembered == 2_000
