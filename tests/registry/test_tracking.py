"""What a finished run left in MLflow: parameters, metrics, lineage, and models that can be loaded again."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import mlflow.artifacts
import numpy as np
import pandas as pd
import psycopg
import pytest
import skops.io
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from command_line import Outcome, mlflow_may_warn
from readmission.errors import ServiceDownError
from readmission.export.artifacts import load_model
from readmission.export.signature import input_example, model_signature
from readmission.features.rules import FEATURE_TYPES
from readmission.registry.client import make_client, mlflow_errors
from readmission.registry.tracking import end_stale_runs, ensure_experiment, fail_runs, log_lineage, start_parent
from readmission.results import MODEL_TYPES, TrainingConfig
from readmission.schema import LABEL_COLUMN, LABELS, RECORD_COLUMNS
from readmission.services import Services, resolve_services
from readmission.settings import Settings
from readmission.training.fitting import Fit
from readmission.training.preparation import PreparedSet
from training_sets import SmallSet

METRICS = {
    "accuracy", "precision", "recall", "f1_score", "f1_macro", "roc_auc", "roc_auc_macro",
    "lt30_roc_auc", "lt30_pr_auc", "lt30_ece",
}  # fmt: skip

MODELS_AT_ONCE = 4
SETS = 8
"""Rounds of the race for the same new dataset."""


@pytest.fixture(scope="module")
def servers(platform: Settings, finished: Outcome) -> Services:
    return resolve_services(platform)


@pytest.fixture(scope="module")
def client(servers: Services) -> MlflowClient:
    return make_client(servers)


@pytest.fixture(scope="module")
def runs(client: MlflowClient, platform: Settings) -> dict[str, Run]:
    """Runs of models by name."""
    found = client.search_runs([ensure_experiment(client, platform.experiment)], "tags.role = 'model'")
    return {str(run.info.run_name): run for run in found}


@pytest.fixture(scope="module")
def folders(
    runs: dict[str, Run], client: MlflowClient, tmp_path_factory: pytest.TempPathFactory, servers: Services
) -> dict[str, Path]:
    """The stored model of each type, trained on the first set."""
    target = tmp_path_factory.mktemp("models")
    return {
        model_type: Path(
            mlflow.artifacts.download_artifacts(
                client.get_logged_model(model_id(runs[f"cumulative_0_{model_type}"])).artifact_location,
                dst_path=str(target / model_type),
                tracking_uri=servers.mlflow_url,
            )
        )
        for model_type in MODEL_TYPES
    }


def load_pyfunc(folder: str) -> Any:
    """Load a model as a user of MLflow does."""
    with mlflow_may_warn():
        from mlflow.pyfunc import load_model as load
    return load(folder)


def model_id(run: Run) -> str:
    return run.outputs.model_outputs[0].model_id


def test_parameters(runs: dict[str, Run], servers: Services) -> None:
    with psycopg.connect(servers.clean_url.get_secret_value()) as connection:
        for name, run in runs.items():
            _, number, model_type = name.split("_", 2)
            row = connection.execute(f"SELECT count(*) FROM train_cumulative_{int(number)}").fetchone()
            assert row is not None
            assert run.data.params["model_type"] == model_type
            assert run.data.params["cumulative_idx"] == number
            assert run.data.params["n_samples"] == str(row[0])
            assert int(run.data.params["n_features"]) > 30
            assert run.data.params["random_state"] == "42"


def test_metrics(runs: dict[str, Run]) -> None:
    for run in runs.values():
        expected = {f"{part}_{name}" for part in ("train", "val") for name in METRICS} | {"fit_seconds"}
        assert expected <= set(run.data.metrics)
        assert all(0 <= run.data.metrics[name] <= 1 for name in expected - {"fit_seconds"})


def test_lineage(runs: dict[str, Run]) -> None:
    digests = {}
    for name, run in runs.items():
        (used,) = run.inputs.dataset_inputs
        view = f"train_cumulative_{name.split('_')[1]}"
        assert used.dataset.name == view
        assert len(used.dataset.digest) == 32
        assert json.loads(used.dataset.source)["view"] == view
        assert json.loads(used.dataset.profile)["num_rows"] == int(run.data.params["n_samples"])
        columns = json.loads(used.dataset.schema)["mlflow_colspec"]
        assert [column["name"] for column in columns] == [*FEATURE_TYPES, LABEL_COLUMN]
        assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
        digests.setdefault(view, set()).add(used.dataset.digest)
    assert {len(found) for found in digests.values()} == {1}
    assert len(set.union(*digests.values())) == 2


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_stored_model_holds_no_pickle(folders: dict[str, Path], model_type: str) -> None:
    names = {path.name for path in folders[model_type].rglob("*") if path.is_file()}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    assert {"model.skops", "MLmodel", "requirements.txt", "input_example.json"} <= names


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_stored_model_answers_through_pyfunc(
    folders: dict[str, Path],
    model_type: str,
    small_set: SmallSet,
    client: MlflowClient,
    servers: Services,
    runs: dict[str, Run],
    tmp_path: Path,
) -> None:
    loaded = load_pyfunc(str(folders[model_type]))
    assert loaded.metadata.signature == model_signature()
    names = [column.name for column in RECORD_COLUMNS]
    numbers = {column.name: int for column in RECORD_COLUMNS if column.is_number}
    records = small_set.raw_validation[names].head(40).astype(numbers)
    answers = loaded.predict(records)
    assert list(answers.columns) == ["readmission_prediction", *LABELS]
    again = load_model(client, servers, model_id(runs[f"cumulative_0_{model_type}"]), tmp_path)
    np.testing.assert_array_equal(answers[list(LABELS)].to_numpy(), again.predict_proba(records))


def test_the_example_is_the_documented_record(folders: dict[str, Path]) -> None:
    stored = json.loads((folders["decision_tree"] / "input_example.json").read_text())
    example = pd.DataFrame(stored["data"], columns=stored["columns"])
    pd.testing.assert_frame_equal(example, input_example(), check_dtype=False)
    assert len(load_pyfunc(str(folders["decision_tree"])).predict(example)) == 1


def test_a_type_that_nobody_trusts_is_not_built(folders: dict[str, Path]) -> None:
    path = folders["gradient_boosting"] / "model.skops"
    untrusted = skops.io.get_untrusted_types(file=path)
    assert "readmission.training.model.FittedModel" in untrusted
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException):
        skops.io.load(path, trusted=[name for name in untrusted if "FittedModel" not in name])


def test_a_foreign_type_is_refused_when_it_is_stored(tmp_path: Path, fits: dict[str, Fit]) -> None:
    from readmission.export.artifacts import save_model
    from readmission.training.model import FittedModel

    class Foreign:
        """Not on the list."""

    known = fits["decision_tree"].model
    with mlflow_may_warn(), pytest.raises(MlflowException, match=r"(?i)trusted"):
        save_model(FittedModel(known.encoder_json, Foreign(), known.decision_json), tmp_path / "model")


def test_runs_of_killed_executions_are_ended(new_platform: Callable[..., Settings]) -> None:
    platform = new_platform()
    client = make_client(resolve_services(platform))
    experiment = ensure_experiment(client, platform.experiment)
    old = start_parent(client, experiment, "old", {"data_kind": "synthetic"})
    own = start_parent(client, experiment, "own", {"data_kind": "synthetic"})
    assert end_stale_runs(client, experiment, "own") == 1
    assert client.get_run(old).info.status == "KILLED"
    assert client.get_run(own).info.status == "RUNNING"
    assert end_stale_runs(client, experiment, "own") == 0


def test_a_stage_that_runs_again_finds_its_parent_run(new_platform: Callable[..., Settings]) -> None:
    platform = new_platform()
    client = make_client(resolve_services(platform))
    experiment = ensure_experiment(client, platform.experiment)
    assert ensure_experiment(client, platform.experiment) == experiment
    first = start_parent(client, experiment, "one", {})
    assert start_parent(client, experiment, "one", {}) == first
    assert start_parent(client, experiment, "two", {}) != first


def test_models_of_one_set_are_logged_at_the_same_time(
    new_platform: Callable[..., Settings], small_set: SmallSet
) -> None:
    """MLflow adds a dataset that it has not found, which ends in a duplicate where two processes do so at once."""
    platform = new_platform()
    client = make_client(resolve_services(platform))
    experiment = ensure_experiment(client, platform.experiment)
    runs = [str(client.create_run(experiment).info.run_id) for _ in range(MODELS_AT_ONCE)]
    for number in range(SETS):
        prepared = replace(small_set.prepared, digest=f"{number:032}")
        config = TrainingConfig(cumulative_idx=number, view=f"train_cumulative_{number}", rows=prepared.rows)
        start = Barrier(len(runs))

        def log(run_id: str, start: Barrier, config: TrainingConfig, prepared: PreparedSet) -> None:
            start.wait()
            log_lineage(client, run_id, config, prepared, {})

        with ThreadPoolExecutor(len(runs)) as pool:
            list(pool.map(partial(log, start=start, config=config, prepared=prepared), runs))
    for run_id in runs:
        used = client.get_run(run_id).inputs.dataset_inputs
        assert sorted(int(found.dataset.digest) for found in used) == list(range(SETS))


def test_nobody_answering_is_one_line(servers: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    nowhere = servers.model_copy(update={"mlflow_url": "http://127.0.0.1:9"})
    with pytest.raises(ServiceDownError, match=r"^MLflow at http://127\.0\.0\.1:9: ") as caught, mlflow_errors(nowhere):
        make_client(nowhere).get_experiment_by_name("any")
    assert "\n" not in str(caught.value)


def test_runs_of_a_failed_execution_are_ended(new_platform: Callable[..., Settings]) -> None:
    platform = new_platform()
    client = make_client(resolve_services(platform))
    assert fail_runs(client, platform.experiment, "own") == 0
    experiment = ensure_experiment(client, platform.experiment)
    other = start_parent(client, experiment, "other", {})
    own = start_parent(client, experiment, "own", {})
    assert fail_runs(client, platform.experiment, "own") == 1
    assert client.get_run(own).info.status == "FAILED"
    assert client.get_run(other).info.status == "RUNNING"
