"""Score raw columns on a loaded model, in chunks: of encoded rows only so many are in memory at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from readmission.features.columns import clean_columns
from readmission.features.fit import encode_chunks
from readmission.model_bundle import files as bundle
from readmission.serving.inference.scorer import Scorer

CHUNK = 4_096


@dataclass(frozen=True, slots=True)
class Scores:
    """Answers to n rows.

    Attributes:
        labels: position in LABELS, shape (n,).
        probabilities: in the order of LABELS, shape (n, 3); each row sums to 1.
    """

    labels: npt.NDArray[np.intp]
    probabilities: npt.NDArray[np.float64]


def score_batch(scorer: Scorer, raw: pa.Table, chunk: int = CHUNK) -> Iterator[Scores]:
    """Score rows.

    Args:
        scorer: the model.
        raw: text columns under the source's names; absent ones count as missing.
        chunk: rows at once.

    Raises:
        ValueError: the model gave no probabilities.
    """
    clean = clean_columns(raw)  # of all rows: it takes its time for the distinct values, not for rows
    for matrix in encode_chunks(scorer.encoder, clean, chunk):
        (output,) = scorer.session.run([bundle.ONNX_PROBABILITIES], {bundle.ONNX_INPUT: matrix})
        chances = output.astype(np.float64)
        totals = chances.sum(axis=1, keepdims=True)
        if not (np.abs(totals - 1.0) < 1e-3).all():
            raise ValueError("the model's probabilities do not sum to 1")
        # As for one record, the class is decided on the model's own float32 probabilities.
        weighed = chances * np.array(scorer.decision.weights) - np.array(scorer.decision.offsets)
        yield Scores(np.argmax(weighed, axis=1), chances / totals)
