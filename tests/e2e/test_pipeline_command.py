"""`readmission pipeline run` on real servers: what it prints, and what it leaves in databases and MLflow."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow.artifacts
import psycopg
import pytest
from matplotlib.image import imread
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from command_line import CommandLine, Outcome, build_schemas, look, production
from pipeline_fixtures import ROWS
from readmission.results import MODEL_TYPES
from readmission.schema import LABELS
from readmission.services import Services, resolve_services
from readmission.settings import Settings

STAGES = ["download", "split", "store", "clean", "plan", "train", "select", "publish"]
CHARTS = {
    f"charts/{part}_{name}.png" for part in ("train", "val") for name in ("accuracy", "precision", "recall", "f1_score")
}


@pytest.fixture(scope="module")
def servers(platform: Settings) -> Services:
    return resolve_services(platform)


@pytest.fixture(scope="module")
def client(servers: Services) -> MlflowClient:
    return MlflowClient(servers.mlflow_url, servers.mlflow_url)


@pytest.fixture(scope="module")
def runs(client: MlflowClient, platform: Settings, finished: Outcome) -> dict[str, list[Run]]:
    """Every run of the experiment by its role."""
    experiment = client.get_experiment_by_name(platform.experiment)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return {role: [run for run in found if run.data.tags["role"] == role] for role in ("execution", "model")}


def test_last_line_is_the_summary(finished: Outcome) -> None:
    summary = finished.summary
    assert set(summary) >= {"models", "batches", "best", "registered_version", "data_source", "stages", "seconds"}
    assert set(summary["best"]) == {
        "model_type", "cumulative_idx", "run_id", "val_f1_score", "val_roc_auc", "test_f1_score",
    }  # fmt: skip
    assert (summary["models"], summary["batches"], summary["registered_version"]) == (8, 2, "1")
    assert summary["data_source"] == f"synthetic:{ROWS}"
    assert list(summary["stages"]) == STAGES
    assert sum(summary["stages"].values()) + summary["report_seconds"] == pytest.approx(summary["seconds"], abs=1)


def test_standard_output_holds_nothing_else(finished: Outcome) -> None:
    assert len(finished.stdout.splitlines()) == 1


def test_progress_is_plain_lines(finished: Outcome) -> None:
    lines = finished.stderr.splitlines()
    assert [line.split(":")[0] for line in lines if line.endswith(": started")] == STAGES
    assert "\x1b" not in finished.stderr
    assert "Warning" not in finished.stderr
    assert sum(line.startswith("trained ") for line in lines) == 8


def test_nothing_is_left_over(finished: Outcome, platform: Settings, servers: Services) -> None:
    assert build_schemas(servers) == []
    assert not any((platform.home / "scratch").glob("*"))


def test_tables_hold_every_row_once(finished: Outcome, platform: Settings, servers: Services) -> None:
    rows = {name: count for name, (count, _) in look(servers, platform.model_name).tables.items()}
    batches = rows["raw.batch_0"], rows["raw.batch_1"]
    assert max(batches) - min(batches) <= 1
    assert sum(batches) == rows["raw.train_raw"] == rows["raw.train_cumulative_1"] == rows["clean.train_clean"]
    assert rows["raw.train_cumulative_0"] == rows["clean.train_cumulative_0"] == batches[0]
    assert rows["raw.train_raw"] + rows["raw.validation_raw"] + rows["raw.test_raw"] == ROWS == rows["raw.assignment"]
    assert rows["clean.validation_clean"] == rows["raw.validation_raw"]
    assert rows["clean.test_clean"] == rows["raw.test_raw"]
    assert rows["raw.validation_raw"] == pytest.approx(0.15 * ROWS, abs=0.005 * ROWS)


def test_no_patient_is_in_two_parts(finished: Outcome, servers: Services) -> None:
    query = """
        SELECT count(*) FROM (SELECT patient_nbr FROM (
            SELECT 0 AS part, patient_nbr FROM train_clean UNION ALL SELECT 1, patient_nbr FROM validation_clean
            UNION ALL SELECT 2, patient_nbr FROM test_clean) every GROUP BY patient_nbr HAVING count(DISTINCT part) > 1
        ) torn
    """
    with psycopg.connect(servers.clean_url.get_secret_value()) as connection:
        assert connection.execute(query).fetchall() == [(0,)]


def test_a_run_for_each_model_below_one_parent(runs: dict[str, list[Run]]) -> None:
    (parent,) = runs["execution"]
    assert parent.info.run_name == f"execution_{parent.data.tags['readmission.execution']}"
    assert Counter(run.info.run_name for run in runs["model"]) == Counter(
        f"cumulative_{number}_{kind}" for number in (0, 1) for kind in MODEL_TYPES
    )
    assert {run.data.tags[MLFLOW_PARENT_RUN_ID] for run in runs["model"]} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *runs["model"])} == {"FINISHED"}


def test_the_winner_is_the_best_of_this_execution(runs: dict[str, list[Run]], finished: Outcome) -> None:
    def merit(run: Run) -> tuple[float, float]:
        return run.data.metrics["val_f1_score"], run.data.metrics["val_roc_auc"]

    best = finished.summary["best"]
    winner = max(runs["model"], key=merit)
    assert winner.info.run_id == best["run_id"]
    assert winner.data.params["model_type"] == best["model_type"]
    assert winner.data.params["cumulative_idx"] == str(best["cumulative_idx"])
    assert merit(winner) == pytest.approx((best["val_f1_score"], best["val_roc_auc"]))
    assert winner.data.metrics["test_f1_score"] == pytest.approx(best["test_f1_score"])


def test_test_rows_are_used_once(runs: dict[str, list[Run]], finished: Outcome) -> None:
    measured = [run.info.run_id for run in runs["model"] if any(name.startswith("test_") for name in run.data.metrics)]
    assert measured == [finished.summary["best"]["run_id"]]


def test_charts_are_real_figures(client: MlflowClient, runs: dict[str, list[Run]], tmp_path: Path) -> None:
    (parent,) = runs["execution"]
    paths = {file.path for file in client.list_artifacts(parent.info.run_id, "charts")}
    assert paths == CHARTS | {"charts/learning_curve.png"}
    folder = Path(client.download_artifacts(parent.info.run_id, "charts", str(tmp_path)))
    for path in paths:
        image = imread(folder / Path(path).name)
        assert min(image.shape[:2]) >= 400
        assert len({tuple(pixel) for pixel in image[::7, ::7].reshape(-1, image.shape[2])}) > 5


def test_evaluation_of_the_winner_is_logged(
    client: MlflowClient, finished: Outcome, platform: Settings, servers: Services, tmp_path: Path
) -> None:
    folder = Path(client.download_artifacts(finished.summary["best"]["run_id"], "evaluation", str(tmp_path)))
    rows = look(servers, platform.model_name).tables
    metrics = client.get_run(finished.summary["best"]["run_id"]).data.metrics
    for part, table in (("val", "clean.validation_clean"), ("test", "clean.test_clean")):
        confusion = json.loads((folder / f"{part}_confusion_matrix.json").read_text())
        assert confusion["labels"] == list(LABELS)
        matrix = confusion["rows_true_columns_predicted"]
        assert sum(map(sum, matrix)) == rows[table][0]
        right = sum(matrix[place][place] for place in range(3))
        assert metrics[f"{part}_accuracy"] == pytest.approx(right / rows[table][0])
        report = (folder / f"{part}_per_class_report.txt").read_text()
        assert all(label in report for label in LABELS)


def test_synthetic_data_is_never_silent(
    client: MlflowClient, runs: dict[str, list[Run]], platform: Settings, finished: Outcome, tmp_path: Path
) -> None:
    assert {run.data.tags["data_kind"] for every in runs.values() for run in every} == {"synthetic"}
    version = client.get_model_version(platform.model_name, "1")
    assert version.tags["data_kind"] == "synthetic"
    assert version.tags["data_source"] == f"synthetic:{ROWS}"
    assert "SYNTHETIC DATA" in version.description
    folder = mlflow.artifacts.download_artifacts(
        f"runs:/{version.run_id}/bundle/metadata.json", dst_path=str(tmp_path), tracking_uri=platform.mlflow_url
    )
    assert json.loads(Path(folder).read_text())["data_kind"] == "synthetic"


def test_production_is_the_new_version(finished: Outcome, platform: Settings, servers: Services) -> None:
    assert production(servers, platform.model_name) == finished.summary["registered_version"]


def test_the_same_command_again_gives_the_same_models(finished: Outcome, new_platform: Callable[..., Settings]) -> None:
    """Another home, other databases: the same data and options give the same figures."""
    again = CommandLine(new_platform()).invoke(
        "pipeline", "run", "--data", f"synthetic:{ROWS}", "--batches", "2", "--no-report", "--json"
    )
    assert again.code == 0, again.stderr
    first, second = finished.summary["best"], again.summary["best"]
    assert {**first, "run_id": ""} == {**second, "run_id": ""}
