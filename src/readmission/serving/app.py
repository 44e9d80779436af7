"""The application factory: it only wires. Run by ``uvicorn readmission.serving.app:create_app --factory``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from readmission import __version__
from readmission.serving.data_plane import DataPlane
from readmission.serving.errors import add_error_handlers
from readmission.serving.middleware import RequestContext
from readmission.serving.mlflow_rest import MlflowRest
from readmission.serving.model_store import ModelStore
from readmission.serving.routes import PREDICT_PATH, PredictionRoutes, StatusRoutes
from readmission.serving.shelf import Shelf
from readmission.serving.telemetry import Telemetry
from readmission.settings import Settings, load_settings

SHELF_FOLDER = "serving"
MEASURED = frozenset({PREDICT_PATH})


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the prediction API.

    Args:
        settings: default: from the environment.

    Raises:
        BadInputError: a setting is wrong.
    """
    settings = settings or load_settings()
    telemetry = Telemetry()
    store = _make_store(settings, telemetry)
    plane = DataPlane(store, telemetry)
    # FastAPI's own pages of documentation load their scripts from the internet; a hospital's network has none.
    app = FastAPIOffline(
        title="Readmission prediction",
        description="Predicts whether a diabetes patient returns to hospital: not (NO), within 30 days, or later.",
        version=__version__,
        lifespan=lambda _: _run(store),
    )
    app.include_router(PredictionRoutes(plane).router())
    app.include_router(StatusRoutes(plane, telemetry, settings.model_name).router())
    app.add_middleware(RequestContext, telemetry=telemetry, measured=MEASURED)
    add_error_handlers(app)
    return app


def _make_store(settings: Settings, telemetry: Telemetry) -> ModelStore:
    registry = MlflowRest(settings.mlflow_url or f"http://127.0.0.1:{settings.mlflow_port}")
    shelf = Shelf(settings.home / SHELF_FOLDER)
    return ModelStore(settings.model_name, registry, shelf, settings.model_poll_seconds, telemetry.model_changed)


@asynccontextmanager
async def _run(store: ModelStore) -> AsyncIterator[None]:
    store.load_last_good()
    watch = asyncio.create_task(store.watch())
    try:
        yield
    finally:
        watch.cancel()
        store.stop()
        with suppress(asyncio.CancelledError):
            await watch
