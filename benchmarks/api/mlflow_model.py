"""The model as MLflow serves it: ``mlflow models serve``."""

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from benchmarks.api.pandas_model import PandasModel


class Served(PythonModel):
    """The shared model behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load it once."""
        self._model = PandasModel(Path(context.artifacts["model"]))

    def predict(self, context: PythonModelContext, model_input: Any, params: Any = None) -> list[dict[str, Any]]:  # noqa: ARG002
        """Answer raw records."""
        records: pd.DataFrame = model_input
        return self._model.answers(records)


def save(model: Path, folder: Path) -> None:
    """Write an MLflow model. Without a signature, whose enforcement would cost time at each request."""
    mlflow.pyfunc.save_model(
        folder, python_model=Served(), artifacts={"model": str(model)}, pip_requirements=["mlflow"]
    )
