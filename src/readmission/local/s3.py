"""SeaweedFS's S3 server as a child process, and its buckets."""

import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from readmission.errors import ServiceDownError
from readmission.local.ports import LOOPBACK
from readmission.local.process import Child, Program, child_environment
from readmission.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "s3"
MLFLOW_BUCKET = "mlflow"
REGION = "us-east-1"

# SeaweedFS listens for its inner calls on each port plus this.
INNER_OFFSET = 10_000

_SOCKET_FOLDER = Path("/tmp")  # noqa: S108 - fixed in SeaweedFS

_CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}, proxies={})


class S3:
    """The stack's object store. Every port of it is on the loopback address."""

    name = NAME
    title = "S3"

    def __init__(self, settings: Settings, credentials: dict[str, str]) -> None:
        self._settings = settings
        self._credentials = credentials
        self._data = settings.home.absolute() / "s3"

    def ports(self) -> dict[int, str]:
        """Ports that it takes, with their settings."""
        names = ("s3_port", "s3_admin_port", "s3_master_port", "s3_volume_port", "s3_filer_port")
        outer = {int(getattr(self._settings, name)): f"READMISSION_{name.upper()}" for name in names}
        return outer | {port + INNER_OFFSET: setting for port, setting in outer.items()}

    def program(self) -> Program:
        """Say how to run the server.

        Raises:
            ServiceDownError: SeaweedFS is not installed, or another user's leftovers block it.
        """
        self._data.mkdir(mode=0o700, exist_ok=True)
        for port in self.ports():
            _remove_left_sockets(port)
        return Program(
            name=self.name,
            command=(str(_binary()), "mini", *self._arguments()),
            environment=child_environment(without=("AWS_", "WEED_", "S3_"), **self._secrets()),
            folder=self._data,
        )

    def is_ready(self, child: Child) -> bool:
        """Whether this child answers a signed request."""
        if not child.listens_on(self._settings.s3_port):
            return False
        try:
            self._client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def provision(self) -> None:
        """Create the buckets that are missing."""
        client = self._client()
        existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in sorted({MLFLOW_BUCKET, self._settings.s3_bucket} - existing):
            client.create_bucket(Bucket=bucket)

    def may_retry(self, _log_line: str) -> bool:
        """Whether it ended for a reason that passes: never."""
        return False

    def _client(self) -> "S3Client":
        endpoint = f"http://{LOOPBACK}:{self._settings.s3_port}"
        return s3_client(endpoint, self._credentials["s3_access_key"], self._credentials["s3_secret_key"])

    def _arguments(self) -> tuple[str, ...]:
        settings = self._settings
        options = {
            "dir": self._data,
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "s3.port": settings.s3_port,
            "admin.port": settings.s3_admin_port,
            "master.port": settings.s3_master_port,
            "volume.port": settings.s3_volume_port,
            "filer.port": settings.s3_filer_port,
            # In its working folder: by default it puts them into /tmp, where one left by another user stops it.
            "s3.localSocket": "s3.sock",
            "filer.localSocket": "filer.sock",
            "volume.preStopSeconds": 0,
            "webdav": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
        }
        return tuple(f"-{name}={value}" for name, value in options.items())

    def _secrets(self) -> dict[str, str]:
        # Without signing keys the inner ports hand out objects to anybody. They sign requests that live for seconds
        # between parts of this one process, so each start makes new ones.
        signing = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")
        return {
            **{f"WEED_{name}_KEY": secrets.token_urlsafe(32) for name in signing},
            "WEED_ADMIN_USER": "admin",
            "WEED_ADMIN_PASSWORD": self._credentials["s3_admin"],
            "AWS_ACCESS_KEY_ID": self._credentials["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": self._credentials["s3_secret_key"],
        }


def s3_client(endpoint: str, access_key: str, secret_key: str, config: Config = _CONFIG) -> "S3Client":
    """A client that asks once and soon gives up, for watching a server on this machine."""
    # A session of its own: boto3's default session is shared state.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=config,
    )


def _remove_left_sockets(port: int) -> None:
    # The names of its inner sockets cannot be chosen. The port is free, so no living server needs them.
    for left in _SOCKET_FOLDER.glob(f"seaweedfs-*-grpc-{port}.sock"):
        try:
            left.unlink(missing_ok=True)
        except OSError:
            raise ServiceDownError(
                f"{left} was left behind by another user's S3 server: have it removed or set other S3 ports"
            ) from None


def _binary() -> Path:
    beside_python = Path(sys.executable).with_name("weed")
    found = beside_python if beside_python.exists() else shutil.which("weed")
    if not found:
        raise ServiceDownError("SeaweedFS is not installed: install the requirements (`make setup`)")
    return Path(found)
