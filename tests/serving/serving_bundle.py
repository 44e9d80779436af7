"""Make a real, small bundle: generated records, a fitted encoder and estimator, ONNX, self-test, metadata."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from readmission.export.explanation import explanation
from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder
from readmission.features.fit import encode_columns, fit_encoder
from readmission.model_bundle import files as bundle
from readmission.schema import LABELS, MISSING, RECORD_COLUMNS, Column, Kind

MODEL_NAME = "diabetes_readmission_model"
SHAPES = {
    "decision_tree": lambda: DecisionTreeClassifier(max_depth=6, random_state=3),
    "logistic_regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
}
EMPTY = np.zeros((0, 0), np.float32)
DIAGNOSES = ("250.83", "428", "V45", "E909", "786", "414", "38", MISSING)


@dataclass(frozen=True)
class MadeBundle:
    """A bundle on disk, and what it was made from."""

    folder: Path
    encoder: Encoder
    estimator: Any
    decision: bundle.Decision

    def probabilities(self, records: list[dict[str, Any]]) -> np.ndarray:
        """What the fitted pipeline, not ONNX, gives: shape (n, 3)."""
        return self.estimator.predict_proba(encode_columns(self.encoder, clean_columns(table(records))))


def value(column: Column, draw: random.Random) -> str:
    if column.kind is Kind.DIAGNOSIS:
        return draw.choice(DIAGNOSES)
    if column.levels:
        return draw.choice((*column.levels, MISSING))
    return str(draw.randint(column.seen_low, column.seen_high))


def records(count: int, seed: int) -> list[dict[str, str]]:
    draw = random.Random(seed)
    return [{column.name: value(column, draw) for column in RECORD_COLUMNS} for _ in range(count)]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Raw text columns, as the source would write these records."""

    def text(raw: Any) -> str:
        return MISSING if raw is None else str(raw)

    return pa.table({c.name: pa.array([text(row.get(c.name)) for row in rows], pa.string()) for c in RECORD_COLUMNS})


def outcome(row: dict[str, str], draw: random.Random) -> int:
    score = int(row["number_inpatient"]) / 21 + draw.gauss(0, 0.2)
    return 2 if score > 0.8 else 1 if score > 0.5 else 0


def make_bundle(folder: Path, model_type: str = "decision_tree", seed: int = 1, **metadata: Any) -> MadeBundle:
    """Fit and write a bundle into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = records(900, seed)
    draw = random.Random(seed)
    labels = np.array([outcome(row, draw) for row in rows])
    encoder = fit_encoder(clean_columns(table(rows)), min_count=5)
    estimator = SHAPES[model_type]().fit(encode_columns(encoder, clean_columns(table(rows))), labels)
    decision = bundle.Decision(rule="weighted", weights=(1.0, 1.25, 1.5))
    made = MadeBundle(folder, encoder, estimator, decision)
    write_bundle(made, model_type, records(25, seed + 1), metadata)
    return made


def write_bundle(made: MadeBundle, model_type: str, rows: list[dict[str, str]], metadata: dict[str, Any]) -> None:
    folder, probabilities = made.folder, made.probabilities(rows).astype(np.float32)
    (folder / bundle.MODEL_FILE).write_bytes(to_onnx(made))
    (folder / bundle.ENCODER_FILE).write_text(made.encoder.model_dump_json())
    (folder / bundle.DECISION_FILE).write_text(made.decision.model_dump_json())
    self_test = bundle.SelfTest(
        records=tuple(rows),
        probabilities=tuple(tuple(map(float, row)) for row in probabilities),
        labels=tuple(LABELS[made.decision.choose(row)] for row in probabilities.tolist()),
    )
    (folder / bundle.SELFTEST_FILE).write_text(self_test.model_dump_json())
    described = describe(made.encoder, model_type) | metadata
    (folder / bundle.METADATA_FILE).write_text(bundle.Metadata(**described).model_dump_json())
    trees = model_type == "decision_tree"
    (folder / bundle.EXPLAIN_FILE).write_text(json.dumps(explanation(made.estimator, EMPTY) if trees else {}))
    (folder / bundle.REFERENCE_FILE).write_text("{}")


def to_onnx(made: MadeBundle) -> bytes:
    width = len(made.encoder.features)
    options = {id(made.estimator): {"zipmap": False}}
    model = convert_sklearn(
        made.estimator,
        initial_types=[(bundle.ONNX_INPUT, FloatTensorType([None, width]))],
        final_types=[("label", None), (bundle.ONNX_PROBABILITIES, None)],
        options=options,
    )
    return bytes(model.SerializeToString())


def describe(encoder: Encoder, model_type: str) -> dict[str, Any]:
    return {
        "name": MODEL_NAME,
        "run_id": "0123456789abcdef0123456789abcdef",
        "model_type": model_type,
        "cumulative_idx": 3,
        "train_rows": 900,
        "trained_at": "2026-01-02T03:04:05Z",
        "data_source": "synthetic:900",
        "data_kind": "synthetic",
        "data_sha256": "0" * 64,
        "data_fallback": "no network",
        "features": encoder.names,
        "metrics": {"val_f1_score": 0.5},
        "parity_max_difference": 1e-7,
    }


def edit_json(path: Path, **changes: Any) -> None:
    """Change top-level keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
