"""Predictions of a batch as columns of text, which are joined to rows of JSON or CSV without a loop over rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.schema import LABELS
from readmission.serving.inference.batch import Scores
from readmission.serving.telemetry.ids import id_texts


@dataclass(frozen=True, slots=True)
class BatchTexts:
    """Predictions for n rows, text arrays of length n.

    Attributes:
        ids: of the predictions.
        labels: the classes.
        chances: probabilities, an array for each label in the order of LABELS; the shortest text that is exact.
    """

    ids: pa.Array
    labels: pa.Array
    chances: tuple[pa.Array, ...]


def to_texts(ids: npt.NDArray[np.uint8], scores: Scores) -> BatchTexts:
    """Write predictions as text.

    Args:
        ids: of the predictions, shape (n, 16).
        scores: n answers.
    """
    labels = pa.array(LABELS, pa.string()).take(pa.array(scores.labels))
    chances = (pc.cast(pa.array(column), pa.string()) for column in np.ascontiguousarray(scores.probabilities.T))
    return BatchTexts(id_texts(ids), labels, tuple(chances))


def joined_bytes(parts: Sequence[pa.Array | str]) -> bytes:
    """Join columns, and texts that are the same in every row, to rows; all rows, one after another, as UTF-8."""
    rows = pc.binary_join_element_wise(*parts, "")
    _, offsets, content = rows.buffers()
    if content is None:
        return b""
    ends = np.frombuffer(offsets, np.int32)
    return bytes(content[int(ends[rows.offset]) : int(ends[rows.offset + len(rows)])])
