"""HTTP on top of the data plane: paths, status codes, headers."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from readmission.schema import LABELS
from readmission.serving.data_plane import DataPlane
from readmission.serving.errors import describe
from readmission.serving.models import EXAMPLE, PARTIAL_EXAMPLE, Health, ModelInfo, Prediction, PredictRequest
from readmission.serving.scorer import Answer
from readmission.serving.telemetry import Telemetry

MODEL_VERSION = "X-Model-Version"
PREDICT_PATH = "/predict"

_EXAMPLES: Any = {
    "full": {"summary": "Every field", "value": EXAMPLE},
    "partial": {"summary": "A few fields; the rest is missing", "value": PARTIAL_EXAMPLE},
}
_NO = LABELS.index("NO")
_WITHIN_30 = LABELS.index("<30")
_AFTER_30 = LABELS.index(">30")


class PredictionRoutes:
    """Endpoints that answer from a record."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["prediction"])
        problems = describe(
            HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
        )  # fmt: skip
        router.add_api_route(
            PREDICT_PATH, self.predict, methods=["POST"], response_model=Prediction, responses=problems
        )
        return router

    async def predict(self, body: Annotated[PredictRequest, Body(openapi_examples=_EXAMPLES)]) -> Response:
        """Predict the readmission of one hospital stay."""
        answer = self._plane.predict(body.features.raw())
        return JSONResponse(prediction(answer), headers={MODEL_VERSION: answer.version})


class StatusRoutes:
    """Endpoints that tell about the server and its model.

    Args:
        plane: the logic.
        telemetry: the metrics.
        model_name: the registered model, named by ``/health`` whether one is loaded or not.
    """

    def __init__(self, plane: DataPlane, telemetry: Telemetry, model_name: str) -> None:
        self._plane = plane
        self._telemetry = telemetry
        self._model_name = model_name

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["status"])
        unavailable = describe(HTTPStatus.SERVICE_UNAVAILABLE)
        no_model: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "No model is loaded"}}
        router.add_api_route("/health", self.health, response_model=Health, responses=no_model)
        router.add_api_route("/live", self.live)
        router.add_api_route("/ready", self.ready, responses=unavailable)
        router.add_api_route("/model-info", self.model_info, responses=unavailable)
        router.add_api_route("/metrics", self.metrics, response_class=Response)
        return router

    async def health(self) -> Response:
        """Whether a model is loaded, and which."""
        if self._plane.ready:
            return JSONResponse({"status": "ok", "model": self._model_name})
        return JSONResponse({"status": "no model", "model": self._model_name}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def live(self) -> dict[str, str]:
        """Whether the process runs; a restart would help if this fails."""
        return {"status": "live"}

    async def ready(self) -> dict[str, str]:
        """Whether requests may be sent here."""
        return {"status": "ready", "model_version": self._plane.version}

    async def model_info(self, response: Response) -> ModelInfo:
        """Describe the model that serves: origin, data, features, metrics."""
        info = self._plane.model_info()
        response.headers[MODEL_VERSION] = info.version
        return info

    async def metrics(self) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self._telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def prediction(answer: Answer) -> Prediction:
    """Write an answer as the body that callers know, keys in its documented order."""
    probabilities = answer.probabilities
    return {
        "readmission_prediction": answer.label,  # type: ignore[typeddict-item]
        "probabilities": {
            "NO": probabilities[_NO],
            "<30": probabilities[_WITHIN_30],
            ">30": probabilities[_AFTER_30],
        },
    }
