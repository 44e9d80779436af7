"""Run the application on a real server, with a model left on disk."""

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import uvicorn
from serving_bundle import MODEL_NAME
from starlette.types import ASGIApp

from readmission.mlflow_rest import ModelVersion
from readmission.serving.app import MODEL_CACHE_FOLDER
from readmission.serving.inference.model_cache import ModelCache
from readmission.serving.server import PROTOCOL

NOWHERE = "http://127.0.0.1:9"
"""An address where nothing listens (the discard port)."""


def put_in_cache(home: Path, folder: Path, version: str = "1") -> ModelVersion:
    """Leave a bundle where an earlier process would have left it."""
    cache = ModelCache(home / MODEL_CACHE_FOLDER)
    named = ModelVersion(name=MODEL_NAME, version=version, source="mlflow-artifacts:/1/r/artifacts/bundle", run_id="r")
    with cache.workspace() as workspace:
        shutil.copytree(folder, workspace / "made")
        cache.put(workspace / "made", named)
    cache.set_newest(named)
    return named


@contextlib.contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """A real uvicorn on a free port, its protocol that of ``readmission serve``; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, http=PROTOCOL, log_level="warning", lifespan="on"))
    # With its protocol named, asyncio turns Nagle's algorithm off; else every answer waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def calling(app: ASGIApp) -> Iterator[httpx.Client]:
    """A client of ``serving(app)``."""
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client
