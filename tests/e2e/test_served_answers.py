"""What the API answers is what the fitted pipeline answers, on every test row of the real file."""

import contextlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow.artifacts
import mlflow.sklearn
import numpy as np
import pandas as pd
import psycopg
import pytest

import plain_http
from api_process import api_process
from command_line import CommandLine, mlflow_may_warn
from readmission.mlflow_rest import ALIAS
from readmission.model_bundle.files import PARITY_TOLERANCE
from readmission.registry.client import make_client
from readmission.schema import BY_NAME, LABELS, MISSING, RECORD_COLUMNS
from readmission.settings import Settings

NAMES = [column.name for column in RECORD_COLUMNS]
CALLERS = 4
EACH = 4
"""Of so many test rows, one is asked for alone; all are in the batch."""


@dataclass
class Answers:
    """Of n rows: classes, and probabilities in the order of LABELS, shape (n, 3)."""

    labels: list[str]
    probabilities: np.ndarray


@dataclass
class Compared:
    fitted: Answers
    batch: Answers
    single: Answers
    unseen: float


def fitted_answers(cli: CommandLine, rows: pd.DataFrame, folder: Path) -> Answers:
    """What the model gives as it was stored by training, by scikit-learn and LightGBM."""
    version = make_client(cli.services).get_model_version_by_alias(cli.settings.model_name, ALIAS)
    with mlflow_may_warn():
        place = mlflow.artifacts.download_artifacts(
            version.source, dst_path=str(folder), tracking_uri=cli.services.mlflow_url
        )
        answers = mlflow.sklearn.load_model(place).predict(rows)
    return Answers(answers["readmission_prediction"].tolist(), answers[list(LABELS)].to_numpy())


def held_out_rows(cli: CommandLine) -> pd.DataFrame:
    """The test part as it came, from the raw tables."""
    with psycopg.connect(cli.services.raw_url.get_secret_value()) as connection:
        columns = ", ".join(f'"{name}"' for name in NAMES)
        rows = connection.execute(f"SELECT {columns} FROM test_raw ORDER BY row_id").fetchall()
    return pd.DataFrame(rows, columns=NAMES, dtype=str)


def batch_answers(url: str, rows: pd.DataFrame) -> Answers:
    answer = plain_http.post(
        f"{url}/predict/batch",
        content=rows.to_csv(index=False),
        headers={"Content-Type": "text/csv"},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text[:1000]
    lines = [line.split(",") for line in answer.text.splitlines()]
    places = [lines[0].index(f"probability_{label}") for label in LABELS]
    return Answers([line[0] for line in lines[1:]], np.array([[float(line[i]) for i in places] for line in lines[1:]]))


def as_body(row: dict[str, str]) -> bytes:
    """Numbers as numbers, as callers send them."""
    record = {name: int(v) if BY_NAME[name].is_number and v != MISSING else v for name, v in row.items()}
    return json.dumps({"features": record}).encode()


def single_answers(url: str, rows: pd.DataFrame) -> Answers:
    bodies = [as_body(row) for row in rows.to_dict("records")]

    def ask(share: list[bytes]) -> list[dict[str, Any]]:
        found = []
        with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
            for body in share:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status == 200, content
                found.append(json.loads(content))
        return found

    shares = [bodies[start::CALLERS] for start in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        answered = list(pool.map(ask, shares))
    found = [answered[number % CALLERS][number // CALLERS] for number in range(len(bodies))]
    chances = np.array([[item["probabilities"][label] for label in LABELS] for item in found])
    return Answers([item["readmission_prediction"] for item in found], chances)


@pytest.fixture(scope="module")
def compared(
    new_platform: Callable[[], Settings], real_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> Compared:
    cli = CommandLine(new_platform())
    options = ("--batches", "1", "--models", "gradient_boosting", "--no-report")
    outcome = cli.invoke("pipeline", "run", "--data", str(real_csv), *options, "--json")
    assert outcome.code == 0, outcome.stderr
    rows = held_out_rows(cli)
    folder = tmp_path_factory.mktemp("served")
    services = cli.services
    settings = {"model_name": cli.settings.model_name, "mlflow_url": services.mlflow_url, "access_log": "false"}
    with api_process(folder / "api", **settings, prediction_log="false") as api:
        batch, single = batch_answers(api.url, rows), single_answers(api.url, rows.iloc[::EACH])
        metrics = plain_http.get(f"{api.url}/metrics").text.splitlines()
    unseen = sum(float(line.rpartition(" ")[2]) for line in metrics if line.startswith("unseen_values_total"))
    return Compared(fitted_answers(cli, rows, folder / "model"), batch, single, unseen)


@pytest.mark.parametrize(("way", "each"), [("batch", 1), ("single", EACH)])
def test_every_test_row_gets_the_answer_of_the_fitted_pipeline(compared: Compared, way: str, each: int) -> None:
    served: Answers = getattr(compared, way)
    assert len(served.labels) > 15_000 / each
    assert served.labels == compared.fitted.labels[::each]
    fitted = compared.fitted.probabilities[::each]
    np.testing.assert_allclose(served.probabilities, fitted, rtol=0, atol=PARITY_TOLERANCE)
    assert set(served.labels) == set(LABELS)


def test_levels_that_training_never_saw_are_counted(compared: Compared) -> None:
    assert compared.unseen > 0
