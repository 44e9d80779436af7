"""The files of a published model version and the JSON inside: written by ``registry``, read by ``serving``.

model.onnx      float32 (n, features) in as ``input``; ``probabilities`` float32 (n, 3) out, classes as in LABELS
encoder.json    features.encoder.Encoder
decision.json   Decision: the rule that chooses a class from probabilities
explain.json    trees or coefficients, for exact contributions
selftest.json   SelfTest: raw records with the predictions of the fitted pipeline
reference.json  statistics of the training set, for drift
metadata.json   Metadata: name, version, data and metrics of the model
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from readmission.schema import LABELS

MODEL_FILE = "model.onnx"
ENCODER_FILE = "encoder.json"
DECISION_FILE = "decision.json"
EXPLAIN_FILE = "explain.json"
SELFTEST_FILE = "selftest.json"
REFERENCE_FILE = "reference.json"
METADATA_FILE = "metadata.json"

FILES: tuple[str, ...] = (
    MODEL_FILE,
    ENCODER_FILE,
    DECISION_FILE,
    EXPLAIN_FILE,
    SELFTEST_FILE,
    REFERENCE_FILE,
    METADATA_FILE,
)

ONNX_INPUT = "input"
ONNX_PROBABILITIES = "probabilities"
PARITY_TOLERANCE = 1e-5
"""Largest difference of a probability between ONNX and the fitted pipeline."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(_Part):
    """The class is the label with the largest ``weight * probability - offset``; the first in case of a tie.

    Attributes:
        rule: what the weights were fitted for.
        weights, offsets: one per label.
    """

    version: Literal[1] = 1
    labels: tuple[str, ...] = LABELS
    rule: str = "argmax"
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    offsets: tuple[float, ...] = (0.0, 0.0, 0.0)

    def choose(self, probabilities: Sequence[float]) -> int:
        """Choose a class.

        Args:
            probabilities: one per label.

        Returns:
            index into ``labels``.
        """
        terms = zip(self.weights, probabilities, self.offsets, strict=True)
        scores = [weight * probability - offset for weight, probability, offset in terms]
        return scores.index(max(scores))


class SelfTest(_Part):
    """Raw records (no identifiers, no outcome) and the expected predictions."""

    records: tuple[dict[str, str], ...]
    probabilities: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]


class Metadata(_Part):
    """Name, version, data and metrics of a model."""

    name: str
    run_id: str
    model_type: str
    cumulative_idx: int = Field(ge=0)
    train_rows: int = Field(ge=1)
    trained_at: str
    data_source: str
    data_kind: Literal["real", "synthetic"]
    data_sha256: str
    data_fallback: str = ""
    assignment: str = "patient"
    features: tuple[str, ...]
    metrics: dict[str, float]
    parity_max_difference: float = Field(ge=0)
