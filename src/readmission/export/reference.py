"""``reference.json``: statistics of the training rows and the model's predictions, the reference for drift."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.features.rules import FEATURE_TYPES
from readmission.schema import LABEL_COLUMN, LABELS

BINS = 10


def reference(train: pa.Table, probabilities: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Compute the statistics of a training set.

    Args:
        train: clean training rows with their label, n of them.
        probabilities: the model's predictions for rows that it was not trained on, shape (m, 3).

    Returns:
        ``rows``; ``features``: for text the share of each level (``""`` is missing), for numbers ``edges`` (deciles)
        and the ``shares`` between them; ``labels``: their shares; ``probabilities``: mean of each label.
    """
    features = {
        name: _levels(train.column(name)) if dtype == "text" else _deciles(train.column(name))
        for name, dtype in FEATURE_TYPES.items()
    }
    return {
        "rows": train.num_rows,
        "features": features,
        "labels": _levels(train.column(LABEL_COLUMN))["shares"],
        "probabilities": dict(zip(LABELS, probabilities.mean(axis=0).tolist(), strict=True)),
    }


def _levels(column: pa.ChunkedArray) -> dict[str, Any]:
    counted = pc.value_counts(column.cast(pa.string()).fill_null(""))
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    return {"kind": "text", "shares": {level: count / len(column) for level, count in sorted(pairs)}}


def _deciles(column: pa.ChunkedArray) -> dict[str, Any]:
    known = column.drop_null().to_numpy()
    missing = column.null_count / max(1, len(column))
    if not len(known):
        return {"kind": "integer", "missing": missing, "edges": [], "shares": []}
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1), method="lower"))
    counts = np.bincount(np.searchsorted(edges[1:-1], known, side="right"), minlength=max(1, len(edges) - 1))
    return {
        "kind": "integer",
        "missing": missing,
        "edges": edges.tolist(),
        "shares": (counts / len(known)).tolist(),
    }
