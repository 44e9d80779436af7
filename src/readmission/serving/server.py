"""Run the API on uvicorn: in this process, or in several that share one socket and one set of metrics."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from importlib.abc import MetaPathFinder
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from readmission.serving.http.limits import make_access_control
from readmission.serving.telemetry.logs import set_up_logs
from readmission.serving.telemetry.multiprocess import share_metrics
from readmission.settings import Settings

METRICS_FOLDER = "metrics"
GRACE_SECONDS = 5
SWITCH_SECONDS = 0.0005

_WORKER = f"{__name__}:create_worker"

PROTOCOL = "readmission.serving.http.protocol:PredictionProtocol"
"""By name: what it imports has to come after ``share_metrics``."""

OPTIONS: Mapping[str, Any] = {
    "http": "httptools",
    "loop": "uvloop",
    "log_config": None,
    "access_log": False,
    "server_header": False,
}
"""Options of uvicorn; the no-op and other servers of the benchmark run with the same."""


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way then get some seconds.

    Args:
        settings: of the API; with several workers they read theirs from the environment, which must say the same.
        host: address to listen on.
        port: TCP port.

    Raises:
        BadInputError: a setting is wrong.
    """
    make_access_control(settings)  # wrong keys are reported before anything starts, and once, not by every process
    set_up_logs()
    options = {**OPTIONS, "http": PROTOCOL, "host": host, "port": port, "timeout_graceful_shutdown": GRACE_SECONDS}
    if settings.api_workers == 1:
        uvicorn.run(_create(settings), **options)
    else:
        share_metrics(settings.home.absolute() / METRICS_FOLDER)
        uvicorn.run(_WORKER, factory=True, workers=settings.api_workers, **options)


def create_worker() -> ASGIApp:
    """Make the application of one of several processes."""
    set_up_logs()
    _end_with_parent()
    return _create(None)


def _create(settings: Settings | None) -> ASGIApp:
    sys.meta_path.insert(0, _WithoutPandas())
    # ONNX Runtime and sockets let go of the interpreter; a log being written would then keep it for five milliseconds.
    sys.setswitchinterval(SWITCH_SECONDS)
    # What is read and made at the start stays: later collections of garbage need not look at it.
    gc.disable()
    from readmission.serving.app import create_app

    app = create_app(settings)
    gc.freeze()
    gc.enable()
    return app


def _end_with_parent() -> None:
    """End when the parent process has ended, also killed: this one would hold the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent watch", daemon=True).start()


class _WithoutPandas(MetaPathFinder):
    """Keeps pandas out: PyArrow imports it, where it is installed, to recognise its Series; that costs 80 MiB."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        """Raise ModuleNotFoundError for pandas; leave every other module to the next finder."""
        if fullname == "pandas":
            raise ModuleNotFoundError("not in this process", name=fullname)
