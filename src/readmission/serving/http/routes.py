"""HTTP on top of the data plane: paths, status codes, headers."""

from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from readmission.schema import LABELS
from readmission.serving.http.codecs import BATCH_ANSWERS, BATCH_REQUEST, CODECS, Codec
from readmission.serving.http.encoding import explanation_json, prediction_json
from readmission.serving.http.problems import describe, too_many_rows, unsupported
from readmission.serving.http.request_headers import PREDICT_PATH, is_json
from readmission.serving.http.schemas import (
    PREDICT_REQUEST,
    PREDICTED,
    Accepted,
    Explanation,
    FeedbackRequest,
    Health,
    ModelInfo,
    Prediction,
    Preprocessing,
)
from readmission.serving.inference.data_plane import DataPlane, LoggedPrediction
from readmission.serving.inference.errors import FieldError, InvalidFieldsError
from readmission.serving.inference.scorer import Scorer
from readmission.serving.telemetry.metrics import Metrics

BATCH_PATH = "/predict/batch"
EXPLAIN_PATH = "/explain"
FEEDBACK_PATH = "/feedback"

_PREDICTION_ID = "x-prediction-id"
_MODEL_VERSION = "x-model-version"

_PROBLEMS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


class PredictionRoutes:
    """Endpoints that predict from records.

    Args:
        plane: makes predictions.
        max_rows: records that a batch may have.
    """

    def __init__(self, plane: DataPlane, max_rows: int) -> None:
        self._plane = plane
        self._max_rows = max_rows

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["prediction"])
        problems = describe(*_PROBLEMS)
        post = partial(router.add_api_route, methods=["POST"], responses=problems, response_class=JSONResponse)
        one = partial(post, responses={**problems, HTTPStatus.OK.value: PREDICTED}, openapi_extra=PREDICT_REQUEST)
        one(PREDICT_PATH, self.predict, response_model=Prediction)
        batch = {**problems, **describe(HTTPStatus.UNSUPPORTED_MEDIA_TYPE), **BATCH_ANSWERS}
        post(BATCH_PATH, self.predict_batch, responses=batch, openapi_extra=BATCH_REQUEST)
        one(EXPLAIN_PATH, self.explain, response_model=Explanation)
        post(FEEDBACK_PATH, self.feedback, status_code=HTTPStatus.ACCEPTED)
        return router

    async def predict(self, request: Request) -> Response:
        """Predict the readmission of one hospital stay."""
        logged = self._plane.predict(await _json_body(request))
        return _answer(prediction_json(logged.prediction), logged)

    async def predict_batch(self, request: Request) -> Response:
        """Predict many stays at once; all are checked before the first is predicted, and one wrong field refuses all.

        The answer has the media type of the request: JSON, lines of JSON, or CSV with a header.
        """
        codec = _codec_of(request.headers.get("content-type", ""))
        columns = await run_in_threadpool(codec.decode, await request.body())
        if columns.num_rows > self._max_rows:
            raise too_many_rows(self._max_rows)
        version, predictions = self._plane.predict_batch(columns)
        headers = {_MODEL_VERSION: version}
        return StreamingResponse(codec.encode(predictions), headers=headers, media_type=codec.media_type)

    async def explain(self, request: Request) -> Response:
        """Predict, and say what each feature adds to the log-odds of the predicted class (SHAP values)."""
        # Trees take milliseconds: meanwhile others are answered.
        logged, explanation = await run_in_threadpool(self._plane.explain, await _json_body(request))
        return _answer(explanation_json(logged.prediction, explanation), logged)

    async def feedback(self, body: FeedbackRequest) -> Accepted:
        """Report the outcome of a stay that was predicted. The latest feedback per prediction wins."""
        self._plane.take_feedback(str(body.prediction_id), body.readmitted)
        return {"status": "accepted"}


async def _json_body(request: Request) -> bytes:
    if not is_json(request.headers.get("content-type", "").encode("latin-1")):
        detail = "must be a JSON object, in a request with Content-Type: application/json"
        raise InvalidFieldsError([FieldError("body", detail)])
    return await request.body()


def _codec_of(content_type: str) -> Codec:
    codec = CODECS.get(content_type.partition(";")[0].strip().lower())
    if codec is None:
        raise unsupported(CODECS)
    return codec


def _answer(content: str, logged: LoggedPrediction) -> Response:
    headers = {_PREDICTION_ID: logged.prediction_id, _MODEL_VERSION: logged.prediction.version}
    return Response(content, headers=headers, media_type="application/json")


class StatusRoutes:
    """Endpoints about the server and its model.

    Args:
        plane: holds the model.
        metrics: the metrics.
        model_name: the registered model, named by ``/health`` whether one is loaded or not.
    """

    def __init__(self, plane: DataPlane, metrics: Metrics, model_name: str) -> None:
        self._plane = plane
        self._metrics = metrics
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
        if self._plane.is_ready:
            return JSONResponse({"status": "ok", "model": self._model_name})
        return JSONResponse({"status": "no model", "model": self._model_name}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def live(self) -> dict[str, str]:
        """Whether the process runs; a restart would help if this fails."""
        return {"status": "live"}

    async def ready(self) -> dict[str, str]:
        """Whether requests may be sent here."""
        return {"status": "ready", "model_version": self._plane.scorer.version}

    async def model_info(self, response: Response) -> ModelInfo:
        """Describe the model that serves: origin, data, features, metrics."""
        info = _describe(self._plane.scorer)
        response.headers[_MODEL_VERSION] = info.version
        return info

    async def metrics(self) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _describe(scorer: Scorer) -> ModelInfo:
    encoder = scorer.encoder
    return ModelInfo(
        **scorer.metadata.model_dump(),
        version=scorer.version,
        labels=LABELS,
        preprocessing=Preprocessing(encoder_version=encoder.version, features=len(encoder.features)),
        loaded_at=scorer.loaded_at,
    )
