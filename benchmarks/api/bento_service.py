"""The model served by BentoML. Runs in BentoML's environment."""

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.api.registered import RegisteredModel

MODEL_VARIABLE = "BENCH_MODEL"


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Readmission:
    """The registered model as a BentoML service."""

    def __init__(self) -> None:
        self._model = RegisteredModel(Path(os.environ[MODEL_VARIABLE]))

    @bentoml.api
    async def predict(self, features: dict[str, Any]) -> dict[str, Any]:
        """Predict one raw record; asynchronous, since a thread pool only adds time on one core."""
        return self._model.answer(features)
