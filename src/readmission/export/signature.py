"""The signature of a stored model: inputs, outputs, an example, and the packages and types that loading it needs."""

from importlib.metadata import version

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from readmission.schema import LABELS, RECORD_COLUMNS

TRUSTED_TYPES: tuple[str, ...] = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "readmission.training.model.FittedModel",
    "sklearn.tree._tree.Tree",
)
"""Types that skops may create when a stored model is loaded; any other type is refused."""

PIP_REQUIREMENTS: tuple[str, ...] = tuple(
    f"{name}=={version(name)}" for name in ("lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn", "skops")
)


def model_signature() -> ModelSignature:
    """The signature: raw record in (every field optional), class and probabilities out."""
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec("long" if column.is_number else "string", column.name, required=False) for column in RECORD_COLUMNS
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec("string", "readmission_prediction"),
        *(ColSpec("double", label) for label in LABELS),
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def input_example() -> pd.DataFrame:
    """The documented example record, one row."""
    return pd.DataFrame(
        [{column.name: int(column.example) if column.is_number else column.example for column in RECORD_COLUMNS}]
    )
