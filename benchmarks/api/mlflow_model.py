"""The model as MLflow serves it: ``mlflow models serve``. MLflow keeps a copy of this file and runs it."""

from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
from mlflow.pyfunc import PythonModel, PythonModelContext

from benchmarks.api.pandas_model import PandasModel


class Served(PythonModel):
    """The shared model behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load it once."""
        self._model = PandasModel(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None) -> list[dict[str, Any]]:  # noqa: ARG002 - MLflow's names
        """Answer raw records; without types, from which MLflow would make checks that cost time at each request."""
        return self._model.answers(model_input)


def save(model: Path, folder: Path) -> None:
    """Write an MLflow model, without a signature for the same reason."""
    mlflow.pyfunc.save_model(
        folder, python_model=__file__, artifacts={"model": str(model)}, pip_requirements=["mlflow"]
    )


mlflow.models.set_model(Served())
