"""The few REST calls to MLflow that a server of models needs, without MLflow's client (which takes seconds to import).

Routes and answers as in MLflow 3.17 (``mlflow.server.handlers``).
"""

import http.client
import io
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from readmission.errors import BadInputError, ServiceDownError
from readmission.model_bundle import files as bundle

ALIAS = "production"

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_JSON_LIMIT = 1 << 20
_FILE_LIMIT = 1 << 30
_CHUNK = 1 << 16


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ModelVersion(_Reply):
    """Which model it is. Two registries may both have a version 1: run and source tell them apart."""

    name: str
    version: str = Field(pattern="^[0-9]{1,9}$")
    source: str
    run_id: str = ""


class _AliasReply(_Reply):
    model_version: ModelVersion


class _File(_Reply):
    path: str
    is_dir: bool = False
    file_size: int | None = None


class _ListReply(_Reply):
    files: tuple[_File, ...] = ()


class _RunInfo(_Reply):
    artifact_uri: str


class _Run(_Reply):
    info: _RunInfo


class _RunReply(_Reply):
    run: _Run


class _ErrorReply(_Reply):
    error_code: str


_Answer = TypeVar("_Answer", bound=_Reply)


class MlflowRest:
    """MLflow's tracking server over plain HTTP. Blocking: call it from a thread.

    Args:
        url: ``http://host:port``, a path prefix is kept.
        timeout: seconds that one read may take; ``abort`` bounds a whole call.

    Raises:
        BadInputError: the address is no HTTP address.
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._secure, self._host, self._port, self._prefix = _parse_address(url)
        # Without a user's password, for messages.
        self.address = f"http{'s' if self._secure else ''}://{self._host}" + (f":{self._port}" if self._port else "")
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._closed = False

    def production_version(self, name: str) -> ModelVersion | None:
        """Look up the version that carries the alias ``production``; None while there is none.

        Raises:
            ServiceDownError: MLflow does not answer, or not as MLflow does.
        """
        query = urlencode({"name": name, "alias": ALIAS})
        status, body = self._get_json(f"/api/2.0/mlflow/registered-models/alias?{query}")
        if status in (400, 404) and _means_absent(body):
            return None
        version = self._parse(status, body, _AliasReply).model_version
        if version.name != name:
            raise ServiceDownError(f"MLflow at {self.address} answered for another model")
        return version

    def download_bundle(self, version: ModelVersion, folder: Path) -> None:
        """Fetch the files of a version.

        Args:
            version: from ``production_version``.
            folder: where to write them; exists.

        Raises:
            BadInputError: the version is not a complete bundle that the tracking server hands out.
            ServiceDownError: MLflow does not answer, or not as MLflow does; another try may help.
        """
        root = self._artifact_root(version)
        sizes = self._list(root)
        missing = [name for name in bundle.FILES if name not in sizes]
        if missing:
            raise BadInputError(f"Model version {version.version} cannot be loaded: {', '.join(missing)} missing")
        for name in bundle.FILES:
            self._download(f"{root}/{name}", folder / name, sizes[name])

    def abort(self) -> None:
        """End the call under way, if any; it raises ServiceDownError. Safe from another thread."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the call under way and refuse any other, so that a process can end."""
        self._closed = True
        self.abort()

    def _artifact_root(self, version: ModelVersion) -> str:
        source = version.source
        if source.startswith("runs:/"):
            run_id, _, inside = source.removeprefix("runs:/").strip("/").partition("/")
            source = f"{self._run_artifacts(run_id)}/{inside}"
        return _proxied_path(source, version.version)

    def _run_artifacts(self, run_id: str) -> str:
        status, body = self._get_json(f"/api/2.0/mlflow/runs/get?{urlencode({'run_id': run_id})}")
        return self._parse(status, body, _RunReply).run.info.artifact_uri.rstrip("/")

    def _list(self, root: str) -> dict[str, int | None]:
        status, body = self._get_json(f"{_ARTIFACTS}?{urlencode({'path': root})}")
        files = self._parse(status, body, _ListReply).files
        return {file.path.rpartition("/")[2]: file.file_size for file in files if not file.is_dir}

    def _download(self, path: str, target: Path, size: int | None) -> None:
        with target.open("wb") as sink:
            status, kind = self._get(f"{_ARTIFACTS}/{quote(path)}", sink, _FILE_LIMIT)
        # A web page in a file's place comes from something that stands before MLflow.
        if status != http.HTTPStatus.OK or kind.startswith("text/html"):
            raise ServiceDownError(f"MLflow at {self.address} did not hand out {target.name} (status {status})")
        if size is not None and target.stat().st_size != size:
            raise ServiceDownError(f"MLflow at {self.address} handed out a part of {target.name}")

    def _parse(self, status: int, body: bytes, kind: type[_Answer]) -> _Answer:
        if status == http.HTTPStatus.OK:
            with suppress(ValueError, RecursionError):
                return kind.model_validate(json.loads(body))
        raise ServiceDownError(f"MLflow at {self.address} answers, but not as MLflow does (status {status})")

    def _get_json(self, path: str) -> tuple[int, bytes]:
        sink = io.BytesIO()
        status, _ = self._get(path, sink, _JSON_LIMIT)
        return status, sink.getvalue()

    def _get(self, path: str, sink: BinaryIO, limit: int) -> tuple[int, str]:
        """GET into ``sink``; answers the status and the content type."""
        if self._closed:
            raise ServiceDownError("The connection to MLflow is closed")
        connection = self._connection()
        try:
            connection.connect()
            self._socket = connection.sock
            connection.request("GET", self._prefix + path, headers={"Connection": "close"})
            with connection.getresponse() as response:
                _copy(response, sink, limit)
                return response.status, response.getheader("Content-Type", "")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServiceDownError(f"MLflow at {self.address} does not answer: {type(error).__name__}") from error
        finally:
            self._socket = None
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout)


def _parse_address(url: str) -> tuple[bool, str, int | None, str]:
    """Split into: whether it is https, host, port, path prefix."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts.scheme == "https", parts.hostname, parts.port, parts.path.rstrip("/")
    raise BadInputError("Setting READMISSION_MLFLOW_URL: must be http://host:port or https://host:port")


def _copy(response: http.client.HTTPResponse, sink: BinaryIO, limit: int) -> None:
    size = 0
    while chunk := response.read1(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise ValueError("too long")
        sink.write(chunk)
    if response.length:  # read1 does not complain about a connection that ends early
        raise http.client.IncompleteRead(b"", response.length)


def _means_absent(body: bytes) -> bool:
    """Whether MLflow says that there is no such model (404) or no such alias (400)."""
    with suppress(ValueError, RecursionError):
        code = _ErrorReply.model_validate(json.loads(body)).error_code
        return code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
    return False


def _proxied_path(source: str, version: str) -> str:
    """Path below the artifact proxy's root, from a URI that points through the proxy."""
    with suppress(ValueError):
        parts = urlsplit(source)
        path = parts.path.partition(f"{_ARTIFACTS}/")[2] if parts.scheme in ("http", "https") else parts.path
        path = path.strip("/")
        if parts.scheme in ("mlflow-artifacts", "http", "https") and path and ".." not in path.split("/"):
            return path
    raise BadInputError(
        f"Model version {version} cannot be loaded: its files do not lie behind MLflow's artifact proxy"
    )
