"""A neighbour that speaks MLflow's REST, and can be made slow, broken or wrong: a fault injector, not a stand-in.

The real MLflow is in ``test_serving_integration``; what it answers there is what this answers when nothing is injected.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

from serving_bundle import MODEL_NAME

from readmission.mlflow_rest import ModelVersion

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
Answer = tuple[int, str, bytes]


def json_answer(content: object, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(content).encode()


class FaultyMlflow:
    """One HTTP server; ``faults`` maps the start of a path to what is answered in its place."""

    def __init__(self) -> None:
        self.versions: dict[str, Path] = {}
        self.sources: dict[str, str] = {}
        self.production: str | None = None
        self.faults: dict[str, Callable[[], Answer]] = {}
        self.requests: list[str] = []
        self.delay = 0.0
        self.claimed_length: int | None = None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FaultyMlflow":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def publish(self, version: str, folder: Path, source: str | None = None) -> ModelVersion:
        """Register a bundle folder and move the alias to it."""
        self.versions[version] = folder
        self.sources[version] = source or f"mlflow-artifacts:/1/run{version}/artifacts/bundle"
        self.production = version
        return ModelVersion.model_validate(self.describe(version))

    def describe(self, version: str) -> dict[str, object]:
        """As MLflow describes a version; some of its many other fields included."""
        return {
            "name": MODEL_NAME,
            "version": version,
            "creation_timestamp": 1,
            "current_stage": "Production",
            "source": self.sources[version],
            "run_id": f"run{version}",
            "status": "READY",
            "aliases": ["production"],
        }

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        time.sleep(self.delay)
        status, kind, body = self._content(handler.path)
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(self.claimed_length or len(body)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # the caller has given up
            handler.wfile.write(body)

    def _content(self, path: str) -> Answer:
        for start, fault in self.faults.items():
            if path.startswith(start):
                return fault()
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/api/2.0/mlflow/registered-models/alias":
            return self._alias(query)
        if parts.path == "/api/2.0/mlflow/runs/get":
            run_id = query["run_id"]
            return json_answer({"run": {"info": {"artifact_uri": f"mlflow-artifacts:/1/{run_id}/artifacts"}}})
        if parts.path == ARTIFACTS:
            return self._list(self._folder(query["path"]))
        return self._file(unquote(parts.path.removeprefix(ARTIFACTS)))

    def _alias(self, query: dict[str, str]) -> Answer:
        if query["name"] != MODEL_NAME:
            return json_answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}, 404)
        if self.production is None or query["alias"] != "production":
            return json_answer({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such alias"}, 400)
        return json_answer({"model_version": self.describe(self.production)})

    def _folder(self, path: str) -> Path:
        version = path.strip("/").split("/")[1].removeprefix("run")
        return self.versions[version]

    def _list(self, folder: Path) -> Answer:
        files = [{"path": f.name, "is_dir": False, "file_size": f.stat().st_size} for f in sorted(folder.iterdir())]
        return json_answer({"files": files})

    def _file(self, path: str) -> Answer:
        return 200, "application/octet-stream", (self._folder(path) / path.rpartition("/")[2]).read_bytes()
