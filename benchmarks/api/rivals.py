"""Other servers of the same model, as fast as their documentation allows: one process, no access log."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.api.environments import environment
from benchmarks.api.load import compact
from benchmarks.api.servers import REPOSITORY, Record, Service
from benchmarks.api.site import Site
from readmission.local.ports import LOOPBACK
from readmission.schema import LABELS

_SOURCES = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
"""For environments in which the project is not installed."""


def pandas_service(site: Site) -> Service:
    """FastAPI, pandas and scikit-learn: the registered model's own ``predict`` on a DataFrame of one row."""
    return _fastapi(site, "pandas_service", "--registered", str(site.bundle))


def compiled_service(site: Site) -> Service:
    """The same with cleaning and encoding compiled by hand to tables, as the API does it, and no scikit-learn."""
    return _fastapi(site, "compiled_service", "--model", str(site.model))


def _fastapi(site: Site, name: str, *model: str) -> Service:
    port = next(site.ports)
    command = (sys.executable, "-m", "benchmarks.api.pandas_service", "--port", str(port), *model)
    return Service(name, command, port)


def mlflow(site: Site) -> Service:
    """``mlflow models serve`` of the registered model as it is."""
    program = str(Path(sys.executable).with_name("mlflow"))
    command = (program, "models", "serve", "-m", str(site.bundle), "--env-manager", "local", "-h", LOOPBACK, "-w", "1")
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
        read=_from_row,
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
        "parameters": {"uri": str(site.bundle)},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model" / "model-settings.json").write_text(json.dumps(model))
    programs = environment("mlserver")
    return Service(
        "mlserver",
        (str(programs / "mlserver"), "start", str(folder)),
        port,
        environment={"PATH": _path_of(programs / "mlserver"), "PYTHONPATH": _SOURCES},
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
        "PYTHONPATH": _SOURCES,
        "BENCH_MODEL": str(site.bundle),
        "BENTOML_HOME": str(site.folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    return Service("bentoml", (*command, *place), port, environment=variables, ready="/readyz")


RIVALS: Mapping[str, Callable[[Site], Service]] = {
    "pandas": pandas_service,
    "compiled": compiled_service,
    "mlflow": mlflow,
    "mlserver": mlserver,
    "bentoml": bentoml,
}
"""By the part of the benchmark that measures it."""


def _path_of(program: Path) -> str:
    return f"{program.parent}:{os.environ['PATH']}"


def _as_split(record: Record) -> dict[str, Any]:
    return {"dataframe_split": {"columns": list(record), "data": [list(record.values())]}}


def _from_row(answer: Any) -> dict[str, Any]:
    row = dict(answer["predictions"][0])
    label = row.pop("readmission_prediction")
    return {"readmission_prediction": label, "probabilities": row}


def _as_tensor(record: Record) -> dict[str, Any]:
    return {"inputs": [{"name": "records", "shape": [1], "datatype": "BYTES", "data": [compact(record)]}]}


def _from_tensors(answer: Any) -> dict[str, Any]:
    label, probabilities = (output["data"] for output in answer["outputs"])
    return {
        "readmission_prediction": label[0],
        "probabilities": dict(zip(LABELS, probabilities, strict=True)),
    }
