"""Publishing to a real registry: the bundle, alias and stage, the log, and publishing again."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow.artifacts
import numpy as np
import psycopg
import pytest
from mlflow import MlflowClient

from command_line import CommandLine, Outcome, mlflow_may_warn, production
from readmission.context import Context
from readmission.dataset.acquire import open_dataset
from readmission.dataset.source_file import Dataset
from readmission.export.artifacts import load_model
from readmission.model_bundle import files as bundle
from readmission.orchestration import model_stages as pipeline
from readmission.orchestration.execution import load
from readmission.registry.client import make_client
from readmission.registry.versions import create_version, production_version, promote
from readmission.results import Plan, Selection, SplitResult
from readmission.schema import LABELS, RECORD_COLUMNS
from readmission.services import Services, resolve_services
from readmission.serving.inference.scorer import load_scorer
from readmission.settings import Settings
from training_sets import read_raw


@pytest.fixture(scope="module")
def servers(platform: Settings, finished: Outcome) -> Services:
    return resolve_services(platform)


@pytest.fixture(scope="module")
def client(servers: Services) -> MlflowClient:
    return make_client(servers)


@pytest.fixture(scope="module")
def results(platform: Settings, servers: Services, finished: Outcome) -> tuple[Dataset, Selection]:
    context = Context(platform, servers, finished.summary["execution"])
    return load(context, "download", Dataset), load(context, "evaluate", Selection)


@pytest.fixture(scope="module")
def folder(client: MlflowClient, platform: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of version 1, as a server downloads it."""
    version = client.get_model_version(platform.model_name, "1")
    target = tmp_path_factory.mktemp("bundle")
    return Path(
        mlflow.artifacts.download_artifacts(version.source, dst_path=str(target), tracking_uri=platform.mlflow_url)
    )


def test_the_bundle_is_complete(folder: Path) -> None:
    assert set(bundle.FILES) <= {path.name for path in folder.iterdir()}
    assert not list(folder.rglob("*.pkl"))


def test_metadata_describes_the_winner(folder: Path, results: tuple[Dataset, Selection]) -> None:
    dataset, selection = results
    metadata = bundle.Metadata.model_validate_json((folder / bundle.METADATA_FILE).read_text())
    best = selection.best
    assert (metadata.run_id, metadata.model_type, metadata.cumulative_idx, metadata.train_rows) == (
        best.run_id, best.model_type, best.cumulative_idx, best.rows,
    )  # fmt: skip
    assert (metadata.data_source, metadata.data_kind, metadata.data_sha256) == (
        dataset.source, "synthetic", dataset.sha256,
    )  # fmt: skip
    assert metadata.metrics["test_f1_score"] == selection.metrics["test_f1_score"]
    assert metadata.metrics["train_accuracy"] == best.metrics["train_accuracy"]
    assert 0 <= metadata.parity_max_difference <= bundle.PARITY_TOLERANCE


def test_parity_is_logged(client: MlflowClient, finished: Outcome, folder: Path) -> None:
    metadata = json.loads((folder / bundle.METADATA_FILE).read_text())
    metrics = client.get_run(finished.summary["best"]["run_id"]).data.metrics
    assert metrics["onnx_parity_max_difference"] == pytest.approx(metadata["parity_max_difference"])


def test_self_test_holds_no_identifier_and_no_outcome(folder: Path) -> None:
    stored = bundle.SelfTest.model_validate_json((folder / bundle.SELFTEST_FILE).read_text())
    names = {column.name for column in RECORD_COLUMNS}
    assert len(stored.records) == len(stored.labels) == len(stored.probabilities) == 32
    assert all(set(record) == names for record in stored.records)


def test_the_api_answers_as_the_fitted_model(
    folder: Path,
    client: MlflowClient,
    servers: Services,
    platform: Settings,
    results: tuple[Dataset, Selection],
    tmp_path: Path,
) -> None:
    dataset, selection = results
    scorer = load_scorer(folder, "1")
    fitted = load_model(client, servers, selection.best.model_id, tmp_path)
    with psycopg.connect(servers.raw_url.get_secret_value()) as connection:
        rows = [row[0] - 1 for row in connection.execute("SELECT row_id FROM validation_raw ORDER BY row_id LIMIT 500")]
    records = read_raw(open_dataset(platform, servers, dataset)).iloc[rows].reset_index(drop=True)
    expected = fitted.predict(records)
    answers = [
        scorer.score(record) for record in records[[column.name for column in RECORD_COLUMNS]].to_dict("records")
    ]
    assert [answer.label for answer in answers] == expected["readmission_prediction"].tolist()
    given = np.array([answer.probabilities for answer in answers])
    np.testing.assert_allclose(given, expected[list(LABELS)], rtol=0, atol=bundle.PARITY_TOLERANCE)


def test_alias_and_stage_agree(client: MlflowClient, platform: Settings) -> None:
    version = client.get_model_version(platform.model_name, "1")
    assert production_version(client, platform.model_name) == "1"
    assert version.current_stage == "Production"


def test_description_tells_what_people_ask(
    client: MlflowClient, platform: Settings, results: tuple[Dataset, Selection]
) -> None:
    _, selection = results
    text = client.get_model_version(platform.model_name, "1").description
    for part in (
        selection.best.model_type,
        f"{selection.best.rows:,} rows",
        f"F1 score: {selection.metrics['val_f1_score']:.4f}",
        f"accuracy: {selection.metrics['val_accuracy']:.4f}",
        "Trained at: 20",
    ):
        assert part in text


def test_tags_name_the_run(client: MlflowClient, platform: Settings, finished: Outcome) -> None:
    version = client.get_model_version(platform.model_name, "1")
    assert version.run_id == finished.summary["best"]["run_id"]
    assert version.tags["execution"] == finished.summary["execution"]
    assert version.tags["model_type"] == finished.summary["best"]["model_type"]


def test_the_promotion_is_in_the_log(servers: Services, platform: Settings, finished: Outcome) -> None:
    query = "SELECT actor, from_version, to_version, decision, reasons, execution FROM promotions WHERE model_name = %s"
    with psycopg.connect(servers.platform_url.get_secret_value()) as connection:
        ((actor, previous, version, decision, reasons, execution),) = connection.execute(query, [platform.model_name])
    assert actor
    assert (previous, version, decision, execution) == (None, "1", "published", finished.summary["execution"])
    assert reasons == [f"highest validation F1 of 8 models in execution {execution}"]


def test_publishing_the_same_run_again_makes_no_second_version(
    servers: Services, platform: Settings, finished: Outcome, results: tuple[Dataset, Selection], client: MlflowClient
) -> None:
    dataset, selection = results
    renamed = platform.model_copy(update={"model_name": f"{platform.model_name}_again"})
    context = Context(renamed, servers, finished.summary["execution"])
    with mlflow_may_warn():
        split, plan = load(context, "split", SplitResult), load(context, "plan", Plan)
        first, second = (pipeline.publish(context, dataset, split, plan, selection) for _ in range(2))
    assert first.version == second.version == "1"
    assert len(client.search_model_versions(f"name = '{renamed.model_name}'")) == 1
    assert (first.previous, second.previous) == (None, "1")


def test_the_previous_version_is_archived(
    servers: Services, platform: Settings, client: MlflowClient, tmp_path: Path
) -> None:
    name = f"{platform.model_name}_two"
    (tmp_path / "file.txt").write_text("any")
    experiment = client.create_experiment(name)
    assert production_version(client, name) is None
    for number in ("1", "2"):
        run_id = client.create_run(experiment).info.run_id
        version = create_version(client, name, run_id, tmp_path, {"number": number}, f"the {number}.")
        assert version == number
        promote(client, name, number)
    assert production_version(client, name) == "2" == production(servers, name)
    stages = {str(item.version): item.current_stage for item in client.search_model_versions(f"name = '{name}'")}
    assert stages == {"1": "Archived", "2": "Production"}


def test_a_model_without_alias_has_no_production_version(client: MlflowClient, platform: Settings) -> None:
    name = f"{platform.model_name}_empty"
    assert production_version(client, name) is None
    client.create_registered_model(name)
    assert production_version(client, name) is None


def test_only_this_executions_models_may_win(
    new_platform: Callable[..., Settings], platform: Settings, finished: Outcome
) -> None:
    """An older and better run in the same experiment is left alone."""
    own = new_platform()
    client = make_client(resolve_services(own))
    experiment = client.create_experiment(own.experiment)
    tags = {"role": "model", "readmission.execution": "older"}
    better = client.create_run(experiment, run_name="cumulative_0_decision_tree", tags=tags).info.run_id
    for metric in ("val_f1_score", "val_roc_auc", "val_accuracy"):
        client.log_metric(better, metric, 0.999)
    client.set_terminated(better)
    outcome = CommandLine(own).invoke(
        "pipeline", "run", "--data", "synthetic:3000", "--batches", "1", "--models", "decision_tree", "--no-report",
        "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    best = outcome.summary["best"]
    assert best["run_id"] != better
    assert best["val_f1_score"] < 0.9
    assert client.get_model_version(own.model_name, "1").run_id == best["run_id"]
