"""HTTP on top of the data plane: paths, status codes, headers."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from readmission.serving.http.codecs import BATCH_ANSWERS, BATCH_REQUEST, FORMS, Form
from readmission.serving.http.encoding import explanation_json, prediction_json
from readmission.serving.http.problems import describe, too_many_rows, unsupported
from readmission.serving.http.request_headers import PREDICT_PATH
from readmission.serving.http.schemas import (
    EXAMPLE,
    PARTIAL_EXAMPLE,
    PREDICTED,
    Accepted,
    Explanation,
    FeedbackRequest,
    Health,
    ModelInfo,
    Prediction,
    PredictRequest,
)
from readmission.serving.inference.data_plane import MODEL_VERSION, DataPlane, Predicted
from readmission.serving.telemetry.metrics import Telemetry

BATCH_PATH = "/predict/batch"
EXPLAIN_PATH = "/explain"
FEEDBACK_PATH = "/feedback"

_PROBLEMS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_EXAMPLES: Any = {
    "full": {"summary": "Every field", "value": EXAMPLE},
    "partial": {"summary": "A few fields; the rest is missing", "value": PARTIAL_EXAMPLE},
}


class PredictionRoutes:
    """Endpoints that answer from records.

    Args:
        plane: the logic.
        batch_rows: records that a batch may have.
    """

    def __init__(self, plane: DataPlane, batch_rows: int) -> None:
        self._plane = plane
        self._batch_rows = batch_rows

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["prediction"])
        problems = describe(*_PROBLEMS)
        post = partial(router.add_api_route, methods=["POST"], responses=problems, response_class=JSONResponse)
        predicted = {**problems, HTTPStatus.OK.value: PREDICTED}
        post(PREDICT_PATH, self.predict, responses=predicted, response_model=Prediction)
        batch = {**problems, **describe(HTTPStatus.UNSUPPORTED_MEDIA_TYPE), **BATCH_ANSWERS}
        post(BATCH_PATH, self.predict_batch, responses=batch, openapi_extra=BATCH_REQUEST)
        post(EXPLAIN_PATH, self.explain, responses=predicted, response_model=Explanation)
        post(FEEDBACK_PATH, self.feedback, status_code=HTTPStatus.ACCEPTED)
        return router

    async def predict(self, body: Annotated[PredictRequest, Body(openapi_examples=_EXAMPLES)]) -> Response:
        """Predict the readmission of one hospital stay."""
        predicted = self._plane.predict(body.features.raw())
        return _answer(prediction_json(predicted.answer), predicted)

    async def predict_batch(self, request: Request) -> Response:
        """Predict many stays at once; all are checked before the first is answered, and one wrong field refuses all.

        The answer has the form of the question: JSON, lines of JSON, or CSV with a header.
        """
        form = _form_of(request.headers.get("content-type", ""))
        raw = await run_in_threadpool(form.read, await request.body())
        if raw.num_rows > self._batch_rows:
            raise too_many_rows(self._batch_rows)
        version, answers = self._plane.predict_batch(raw)
        headers = {MODEL_VERSION.decode(): version}
        return StreamingResponse(form.write(answers), headers=headers, media_type=form.media_type)

    async def explain(self, body: Annotated[PredictRequest, Body(openapi_examples=_EXAMPLES)]) -> Response:
        """Predict, and tell what each feature adds to the log-odds of the answered class."""
        # Trees take milliseconds: meanwhile others are answered.
        predicted, explained = await run_in_threadpool(self._plane.explain, body.features.raw())
        return _answer(explanation_json(predicted.answer, explained), predicted)

    async def feedback(self, body: FeedbackRequest) -> Accepted:
        """Tell what became of a prediction; of two tales about one, the later counts."""
        self._plane.take_feedback(str(body.prediction_id), body.readmitted)
        return {"status": "accepted"}


def _form_of(content_type: str) -> Form:
    kind = content_type.partition(";")[0].strip().lower()
    form = FORMS.get(kind)
    if form is None:
        raise unsupported(FORMS)
    return form


def _answer(content: str, predicted: Predicted) -> Response:
    headers = {name.decode(): value.decode() for name, value in predicted.headers}
    return Response(content, headers=headers, media_type="application/json")


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
        response.headers[MODEL_VERSION.decode()] = info.version
        return info

    async def metrics(self) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self._telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})
