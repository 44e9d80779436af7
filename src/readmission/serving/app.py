"""The application factory: it only wires. Run by ``readmission serve`` (``server``)."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from readmission import __version__
from readmission.errors import ServiceDownError
from readmission.mlflow_rest import MlflowRest
from readmission.services import resolve_services
from readmission.serving.http.access_log import AccessLog
from readmission.serving.http.fast_path import FAST_PATH, FastPath
from readmission.serving.http.limits import make_access_control
from readmission.serving.http.middleware import RequestMiddleware
from readmission.serving.http.problems import PROBLEM_TYPES, add_error_handlers
from readmission.serving.http.request_headers import PREDICT_PATH
from readmission.serving.http.request_metrics import RequestMetrics
from readmission.serving.http.routes import BATCH_PATH, EXPLAIN_PATH, PredictionRoutes, StatusRoutes
from readmission.serving.http.schemas import COMPONENTS
from readmission.serving.inference.data_plane import DataPlane
from readmission.serving.inference.model_cache import ModelCache
from readmission.serving.inference.model_store import ModelStore
from readmission.serving.inference.scorer import Scorer
from readmission.serving.prediction_log.log import PredictionLog
from readmission.serving.prediction_log.spool import Spool
from readmission.serving.prediction_log.store_process import StoreProcess
from readmission.serving.telemetry.metrics import Metrics
from readmission.settings import Settings, load_settings

if TYPE_CHECKING:
    from readmission.serving.telemetry.tracing import Tracing

MODEL_CACHE_FOLDER = "serving"
SPOOL_FOLDER = "predictions"
MEASURED = frozenset({PREDICT_PATH, BATCH_PATH, EXPLAIN_PATH})

_log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Make the prediction API.

    Args:
        settings: default: from the environment.

    Raises:
        BadInputError: a setting is wrong.
    """
    settings = settings or load_settings()
    metrics = Metrics([problem.name for problem in PROBLEM_TYPES])
    store = make_store(settings, lambda scorer: _count_model(metrics, scorer))
    sink = _make_log(settings, metrics)
    access_log = AccessLog(sys.stderr.buffer) if settings.access_log else None
    tracing = _make_tracing(settings)
    plane = DataPlane(store, metrics, sink)
    access, requests = make_access_control(settings), RequestMetrics(metrics, MEASURED, access_log)
    state = {FAST_PATH: FastPath(plane, access, requests, settings.body_limit, tracing)}
    services = [service for service in (access_log, tracing, sink) if service is not None]
    # FastAPI's own pages of documentation load their scripts from the internet; a hospital's network has none.
    app = FastAPIOffline(
        title="Readmission prediction",
        description="Predicts whether a diabetes patient returns to hospital: not (NO), within 30 days, or later.",
        version=__version__,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lambda _: _run(store, services, state),
    )
    app.include_router(PredictionRoutes(plane, settings.batch_rows).router())
    app.include_router(StatusRoutes(plane, metrics, settings.model_name).router())
    add_error_handlers(app)
    _describe_bodies(app)
    max_body = {"": settings.body_limit, BATCH_PATH: settings.batch_limit}
    middleware = RequestMiddleware(app, access, requests, max_body)
    return middleware if tracing is None else tracing.around(middleware)


def _describe_bodies(app: FastAPI) -> None:
    """Add the schemas of bodies that the routes decode themselves to the API's description."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        document["components"]["schemas"].update(COMPONENTS)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _count_model(metrics: Metrics, scorer: Scorer) -> None:
    metrics.model_changed(scorer.metadata.name, scorer.version, scorer.metadata.model_type)


def _make_tracing(settings: Settings) -> "Tracing | None":
    if settings.otlp_endpoint is None:
        return None
    # A tenth of a second and megabytes that most servers do not need.
    from readmission.serving.telemetry.tracing import Tracing

    return Tracing(settings.otlp_endpoint, settings.trace_sample_ratio)


def make_store(settings: Settings, on_change: Callable[[Scorer], None]) -> ModelStore:
    """Make the store of models: MLflow's registry, and versions on disk below the state folder."""
    registry = MlflowRest(settings.mlflow_url or f"http://127.0.0.1:{settings.mlflow_port}")
    cache = ModelCache(settings.home / MODEL_CACHE_FOLDER)
    return ModelStore(settings.model_name, registry, cache, settings.model_poll_seconds, on_change)


def _make_log(settings: Settings, metrics: Metrics) -> PredictionLog | None:
    if not settings.prediction_log:
        return None
    try:
        url = settings.platform_database_url or resolve_services(settings).platform_url
    except ServiceDownError:
        _log.warning("Predictions are not logged: there is no database, set READMISSION_PLATFORM_DATABASE_URL")
        return None
    spool = Spool(settings.home / SPOOL_FOLDER, settings.spool_mib << 20)
    return PredictionLog(StoreProcess(url), spool, metrics, settings.prediction_queue, settings.prediction_days)


class _Service(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


@asynccontextmanager
async def _run(
    store: ModelStore, services: Sequence[_Service], state: Mapping[str, Any]
) -> AsyncIterator[Mapping[str, Any]]:
    store.load_last_good()
    async with AsyncExitStack() as stack:
        for service in services:
            service.start()
            stack.push_async_callback(asyncio.to_thread, service.stop)
        watch = asyncio.create_task(store.watch())
        try:
            yield state
        finally:
            watch.cancel()
            store.stop()
            with suppress(asyncio.CancelledError):
                await watch
