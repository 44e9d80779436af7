"""The application factory: it only wires. Run by ``readmission serve`` (``server``)."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from readmission import __version__
from readmission.errors import ServiceDownError
from readmission.mlflow_rest import MlflowRest
from readmission.services import resolve_services
from readmission.serving.http.access_log import AccessLog
from readmission.serving.http.fast_path import FAST_LANE, FastLane
from readmission.serving.http.limits import make_gate
from readmission.serving.http.middleware import Entrance
from readmission.serving.http.problems import add_error_handlers
from readmission.serving.http.request_headers import PREDICT_PATH
from readmission.serving.http.request_metrics import Observer
from readmission.serving.http.routes import BATCH_PATH, EXPLAIN_PATH, PredictionRoutes, StatusRoutes
from readmission.serving.inference.data_plane import DataPlane
from readmission.serving.inference.model_cache import Shelf
from readmission.serving.inference.model_store import ModelStore
from readmission.serving.inference.scorer import Scorer
from readmission.serving.prediction_log.log import PredictionLog
from readmission.serving.prediction_log.spool import Spool
from readmission.serving.prediction_log.store_process import StoreProcess
from readmission.serving.telemetry.metrics import Telemetry
from readmission.settings import Settings, load_settings

if TYPE_CHECKING:
    from readmission.serving.telemetry.tracing import Tracing

SHELF_FOLDER = "serving"
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
    telemetry = Telemetry()
    store = make_store(settings, telemetry.model_changed)
    keeper = _make_log(settings, telemetry)
    access = AccessLog(sys.stderr.buffer) if settings.access_log else None
    tracing = _make_tracing(settings.otlp_endpoint)
    parts = [part for part in (access, tracing, keeper) if part is not None]
    plane = DataPlane(store, telemetry, keeper)
    gate, observer = make_gate(settings), Observer(telemetry, MEASURED, access)
    # Spans are made of ASGI requests, which those of the fast lane never become.
    state = {FAST_LANE: FastLane(plane, gate, observer, settings.body_limit)} if tracing is None else {}
    # FastAPI's own pages of documentation load their scripts from the internet; a hospital's network has none.
    app = FastAPIOffline(
        title="Readmission prediction",
        description="Predicts whether a diabetes patient returns to hospital: not (NO), within 30 days, or later.",
        version=__version__,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lambda _: _run(store, parts, state),
    )
    app.include_router(PredictionRoutes(plane, settings.batch_rows).router())
    app.include_router(StatusRoutes(plane, telemetry, settings.model_name).router())
    add_error_handlers(app)
    limits = {"": settings.body_limit, BATCH_PATH: settings.batch_limit}
    entrance = Entrance(app, gate, observer, limits)
    return entrance if tracing is None else tracing.around(entrance)


def _make_tracing(collector: str | None) -> "Tracing | None":
    if collector is None:
        return None
    from readmission.serving.telemetry.tracing import (
        Tracing,  # a tenth of a second and megabytes that most servers do not need
    )

    return Tracing(collector)


def make_store(settings: Settings, on_change: Callable[[Scorer], None]) -> ModelStore:
    """Make the store of models: MLflow's registry, and versions on disk below the state folder."""
    registry = MlflowRest(settings.mlflow_url or f"http://127.0.0.1:{settings.mlflow_port}")
    shelf = Shelf(settings.home / SHELF_FOLDER)
    return ModelStore(settings.model_name, registry, shelf, settings.model_poll_seconds, on_change)


def _make_log(settings: Settings, telemetry: Telemetry) -> PredictionLog | None:
    if not settings.prediction_log:
        return None
    try:
        url = settings.platform_database_url or resolve_services(settings).platform_url
    except ServiceDownError:
        _log.warning("Predictions are not kept: there is no database, set READMISSION_PLATFORM_DATABASE_URL")
        return None
    spool = Spool(settings.home / SPOOL_FOLDER, settings.spool_mib << 20)
    return PredictionLog(StoreProcess(url), spool, telemetry, settings.prediction_queue, settings.prediction_days)


class _Part(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


@asynccontextmanager
async def _run(store: ModelStore, parts: Sequence[_Part], state: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    store.load_last_good()
    async with AsyncExitStack() as stack:
        for part in parts:
            part.start()
            stack.push_async_callback(asyncio.to_thread, part.stop)
        watch = asyncio.create_task(store.watch())
        try:
            yield state
        finally:
            watch.cancel()
            store.stop()
            with suppress(asyncio.CancelledError):
                await watch
