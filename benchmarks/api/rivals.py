"""Other ways to serve the same model, each as fast as its documentation allows: one process, no log of requests."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.api.environments import environment
from benchmarks.api.load import compact
from benchmarks.api.servers import REPOSITORY, Record, Service
from benchmarks.api.site import Site
from readmission.local.ports import LOOPBACK
from readmission.schema import LABELS


def pandas_service(site: Site) -> Service:
    """FastAPI and pandas."""
    return _fastapi(site, "pandas_service", "--model", str(site.model))


def registered_model(site: Site) -> Service:
    """The same, but with the model's own cleaning, encoding and estimator in place of what was made for one row."""
    return _fastapi(site, "registered_model", "--registered", str(site.bundle))


def _fastapi(site: Site, name: str, *model: str) -> Service:
    port = next(site.ports)
    command = (sys.executable, "-m", "benchmarks.api.pandas_service", "--port", str(port), *model)
    return Service(name, command, port)


def mlflow(site: Site) -> Service:
    """``mlflow models serve``."""
    folder = site.folder / "mlflow-model"
    if not folder.exists():
        with warnings.catch_warnings(action="ignore"):  # it has no signature, on purpose
            from benchmarks.api.mlflow_model import save

            save(site.model, folder)
    program = str(Path(sys.executable).with_name("mlflow"))
    command = (program, "models", "serve", "-m", str(folder), "--env-manager", "local", "-h", LOOPBACK, "-w", "1")
    port = next(site.ports)
    return Service(
        "mlflow",
        (*command, "-p", str(port)),
        port,
        # Read by uvicorn's command line, which MLflow calls.
        environment={"UVICORN_ACCESS_LOG": "0", "UVICORN_LOG_LEVEL": "warning", "PATH": _path_of(Path(sys.executable))},
        ready="/ping",
        path="/invocations",
        ask=_as_split,
        read=lambda answer: dict(answer["predictions"][0]),
    )


def mlserver(site: Site) -> Service:
    """MLServer with a custom runtime, in the process of its HTTP server."""
    folder = site.folder / "mlserver"
    (folder / "model").mkdir(parents=True, exist_ok=True)
    port = next(site.ports)
    settings = {
        "debug": False,
        "host": LOOPBACK,
        "http_port": port,
        "grpc_port": next(site.ports),
        "metrics_port": next(site.ports),
        "metrics_endpoint": None,
        "gzip_enabled": False,
        "parallel_workers": 0,
    }
    model = {
        "name": "readmission",
        "implementation": "benchmarks.api.mlserver_runtime.Runtime",
        "parameters": {"uri": str(site.model)},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model" / "model-settings.json").write_text(json.dumps(model))
    programs = environment("mlserver")
    return Service(
        "mlserver",
        (str(programs / "mlserver"), "start", str(folder)),
        port,
        environment={"PATH": _path_of(programs / "mlserver")},
        ready="/v2/models/readmission/ready",
        path="/v2/models/readmission/infer",
        ask=_as_tensor,
        read=_from_tensors,
    )


def bentoml(site: Site) -> Service:
    """BentoML with one worker."""
    programs = environment("bentoml")
    port = next(site.ports)
    command = (str(programs / "bentoml"), "serve", "benchmarks.api.bento_service:Readmission")
    place = ("--working-dir", str(REPOSITORY), "--host", LOOPBACK, "--port", str(port))
    variables = {
        "PATH": _path_of(programs / "bentoml"),
        "BENCH_MODEL": str(site.model),
        "BENTOML_HOME": str(site.folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    return Service("bentoml", (*command, *place), port, environment=variables, ready="/readyz")


RIVALS: Mapping[str, Callable[[Site], Service]] = {
    "pandas": pandas_service,
    "registered": registered_model,
    "mlflow": mlflow,
    "mlserver": mlserver,
    "bentoml": bentoml,
}
"""By the part of the benchmark that measures it."""


def _path_of(program: Path) -> str:
    return f"{program.parent}:{os.environ['PATH']}"


def _as_split(record: Record) -> dict[str, Any]:
    return {"dataframe_split": {"columns": list(record), "data": [list(record.values())]}}


def _as_tensor(record: Record) -> dict[str, Any]:
    return {"inputs": [{"name": "records", "shape": [1], "datatype": "BYTES", "data": [compact(record)]}]}


def _from_tensors(answer: Any) -> dict[str, Any]:
    label, probabilities = (output["data"] for output in answer["outputs"])
    return {
        "readmission_prediction": label[0],
        "probabilities": dict(zip(LABELS, probabilities, strict=True)),
    }
