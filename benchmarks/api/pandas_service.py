"""A well-written service on FastAPI and pandas: the model loaded once, the body checked, no thread per request.

The route is asynchronous: on one core a thread pool only adds two switches to every request.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, create_model

from benchmarks.api.pandas_model import PandasModel
from readmission.local.ports import LOOPBACK
from readmission.schema import LABELS, RECORD_COLUMNS

Answering = Callable[[dict[str, Any]], dict[str, Any]]
"""A record in, an answer as the API's out."""


def record_model() -> type[BaseModel]:
    """The record with its fields and their types; a field that is left out is missing."""
    kinds: dict[str, Any] = {
        column.name: (int | None if column.is_number else str | None, None) for column in RECORD_COLUMNS
    }
    return create_model("Record", __config__=ConfigDict(extra="forbid"), **kinds)


def make_app(answer: Answering) -> FastAPI:
    """Make the service of a model."""
    question = create_model("Question", features=(record_model(), ...))
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/predict")
    async def predict(body: question) -> JSONResponse:  # type: ignore[valid-type]
        return JSONResponse(answer(vars(body.features)))

    return app


def registered(folder: Path) -> Answering:
    """The model as it is registered, loaded with ``mlflow.sklearn``: its own ``predict``, on a DataFrame of one row."""
    import mlflow.sklearn  # seconds

    model = mlflow.sklearn.load_model(str(folder))
    model.estimator.set_params(n_jobs=1)

    def answer(record: dict[str, Any]) -> dict[str, Any]:
        told = model.predict(pd.DataFrame([record])).iloc[0]
        chances = {label: float(told[label]) for label in LABELS}
        return {"readmission_prediction": told["readmission_prediction"], "probabilities": chances}

    return answer


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", type=Path, help="written by export")
    model.add_argument("--registered", type=Path, help="of MLflow")
    options = parser.parse_args()
    uvicorn.run(
        make_app(PandasModel(options.model).answer if options.model else registered(options.registered)),
        host=LOOPBACK,
        port=options.port,
        http="httptools",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
