"""A FastAPI and pandas service without obvious waste: loads the model once, validates the body, no thread per request.

The route is asynchronous: on one core a thread pool only adds two context switches to every request.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, create_model

from benchmarks.api.pandas_model import PandasModel
from benchmarks.api.registered import RegisteredModel
from readmission.local.ports import LOOPBACK
from readmission.schema import RECORD_COLUMNS
from readmission.serving.server import OPTIONS

Answering = Callable[[dict[str, Any]], dict[str, Any]]
"""A model: record in, response of the API out."""


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


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", type=Path, help="written by export")
    model.add_argument("--registered", type=Path, help="folder of the registered version")
    options = parser.parse_args()
    uvicorn.run(
        make_app((PandasModel(options.model) if options.model else RegisteredModel(options.registered)).answer),
        host=LOOPBACK,
        port=options.port,
        **OPTIONS,
    )


if __name__ == "__main__":
    main()
