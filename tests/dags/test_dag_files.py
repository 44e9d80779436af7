"""Every DAG as Airflow reads it: no error, the tasks and edges that were asked for, nothing heavy."""

from pathlib import Path
from typing import Any

import pytest
from airflow_home import DAGS, environment, run_script

from readmission.local.airflow import TASK_SECONDS

MASTER = "dag_00b_master_cumulative_pipeline"
PHASES = {
    "phase_1_data_acquisition": ("download_diabetes_dataset", "split_train_val_test"),
    "phase_2_batch_storage": ("create_batch_tables", "create_cumulative_views", "store_validation_test", "clean_data"),
    "phase_3_dynamic_configuration": ("generate_training_configs",),
    "phase_4_parallel_training": ("train_cumulative",),
    "phase_5_model_selection": ("aggregate_results", "select_best_model", "evaluate_on_full_validation"),
    "phase_6_production_deployment": ("publish_best_model_production",),
}
EDGES = {
    "download_diabetes_dataset": [],
    "split_train_val_test": ["download_diabetes_dataset"],
    "create_batch_tables": ["split_train_val_test"],
    "store_validation_test": ["split_train_val_test"],
    "create_cumulative_views": ["create_batch_tables", "store_validation_test"],
    "clean_data": ["create_cumulative_views"],
    "generate_training_configs": ["clean_data"],
    "train_cumulative": ["generate_training_configs"],
    "aggregate_results": ["train_cumulative"],
    "select_best_model": ["aggregate_results"],
    "evaluate_on_full_validation": ["select_best_model"],
    "publish_best_model_production": ["evaluate_on_full_validation"],
}
CHAIN = {
    "dag_01_download_data": (["download_diabetes_dataset"], ["readmission://pipeline/data"]),
    "dag_02b_create_batches": (["split_train_val_test"], ["readmission://pipeline/assignment"]),
    "dag_03b_store_batched_raw_data": (
        ["create_batch_tables", "store_validation_test", "create_cumulative_views"],
        ["readmission://pipeline/batches"],
    ),
    "dag_04_clean_data": (["clean_data"], ["readmission://pipeline/clean"]),
    "dag_05b_train_cumulative_batches": (
        ["generate_training_configs", "train_cumulative", "aggregate_results"],
        ["readmission://pipeline/models"],
    ),
    "dag_06b_select_best_cumulative_model": (
        ["aggregate_results", "select_best_model", "evaluate_on_full_validation"],
        ["readmission://pipeline/selection"],
    ),
    "dag_07_publish_to_production": (["publish_best_model_production"], ["readmission://pipeline/production"]),
}
"""Tasks of each DAG, and the assets that it makes; the next one waits for them."""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("airflow")
    found: dict[str, Any] = run_script("describe_dags.py", environment(home), str(DAGS))
    return found


def test_every_file_can_be_read(read: dict[str, Any]) -> None:
    assert read["errors"] == {}
    assert set(read["dags"]) == {MASTER, *CHAIN, "dag_08_retrain", "dag_09_follow_production"}


def test_reading_them_loads_nothing_heavy(read: dict[str, Any]) -> None:
    assert read["heavy"] == []
    assert read["own"] == ["readmission", "readmission.orchestration", "readmission.orchestration.steps"]


def test_the_master_has_the_phases_that_were_asked_for(read: dict[str, Any]) -> None:
    tasks = read["dags"][MASTER]["tasks"]
    assert {name: task["after"] for name, task in tasks.items()} == {
        name: sorted(before) for name, before in EDGES.items()
    }
    assert {name: task["group"] for name, task in tasks.items()} == {
        name: phase for phase, names in PHASES.items() for name in names
    }
    assert [name for name, task in tasks.items() if task["mapped"]] == ["train_cumulative"]


def test_the_master_makes_the_production_asset_alone(read: dict[str, Any]) -> None:
    outlets = {name: task["outlets"] for name, task in read["dags"][MASTER]["tasks"].items() if task["outlets"]}
    assert outlets == {"publish_best_model_production": ["readmission://pipeline/production"]}


@pytest.mark.parametrize("dag_id", CHAIN)
def test_each_phase_has_a_dag_of_its_own(read: dict[str, Any], dag_id: str) -> None:
    tasks, assets = CHAIN[dag_id]
    dag = read["dags"][dag_id]
    assert set(dag["tasks"]) == set(tasks)
    assert [uri for task in dag["tasks"].values() for uri in task["outlets"]] == assets


def test_the_dags_of_the_phases_follow_each_other(read: dict[str, Any]) -> None:
    made: list[str] = []
    for dag_id, (_, assets) in CHAIN.items():
        assert read["dags"][dag_id]["waits_for"] == made
        made = assets
    assert read["dags"]["dag_09_follow_production"]["waits_for"] == made
    assert read["dags"]["dag_08_retrain"]["waits_for"] == ["readmission://pipeline/drift"]


def test_a_failed_set_does_not_keep_the_others_from_being_ranked(read: dict[str, Any]) -> None:
    for dag_id in (MASTER, "dag_05b_train_cumulative_batches"):
        assert (
            read["dags"][dag_id]["tasks"]["aggregate_results"]["trigger_rule"] == "TriggerRule.ALL_DONE_MIN_ONE_SUCCESS"
        )


def test_everything_is_explained_and_bounded(read: dict[str, Any]) -> None:
    for dag in read["dags"].values():
        assert dag["doc"]
        assert "readmission" in dag["tags"]
        for name, task in dag["tasks"].items():
            assert task["owner"] == "readmission"
            assert task["retries"] >= 1 or name == "wait_for_api"
            assert 0 < task["timeout"] < TASK_SECONDS
            assert task["doc"]


def test_the_first_dags_ask_for_the_run_and_the_others_for_the_execution(read: dict[str, Any]) -> None:
    asked = {"data", "batches", "batch_size", "split", "seed"}
    for dag_id in (MASTER, "dag_01_download_data"):
        assert asked <= set(read["dags"][dag_id]["params"])
    for dag_id in list(CHAIN)[1:]:
        assert read["dags"][dag_id]["params"] == ["execution"]


def test_only_the_sdk_is_imported() -> None:
    for path in Path(DAGS).glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("from airflow", "import airflow")):
                assert line.startswith(("from airflow.sdk import", "from airflow.sdk.exceptions import")), line
