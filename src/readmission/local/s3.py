"""SeaweedFS's S3 server as a child process, and its buckets."""

import secrets
import shutil
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from readmission.errors import ServiceDownError
from readmission.local.ports import LOOPBACK
from readmission.local.process import Child, Program, child_environment
from readmission.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "s3"
MLFLOW_BUCKET = "mlflow"
REGION = "us-east-1"

# SeaweedFS also listens on each port plus this offset, for internal calls.
INNER_OFFSET = 10_000

_SOCKET_FOLDER = Path("/tmp")  # noqa: S108 - fixed in SeaweedFS
_PROBE_SECONDS = 5


class S3:
    """The stack's object store. All its ports are on the loopback address."""

    name = NAME
    title = "S3"

    def __init__(self, settings: Settings, credentials: dict[str, str]) -> None:
        self._settings = settings
        self._credentials = credentials
        self._data = settings.home.absolute() / "s3"

    def ports(self) -> list[tuple[int, str]]:
        """Ports that it needs, with their settings."""
        names = ("s3_port", "s3_admin_port", "s3_master_port", "s3_volume_port", "s3_filer_port")
        outer = [(int(getattr(self._settings, name)), f"READMISSION_{name.upper()}") for name in names]
        return outer + [(port + INNER_OFFSET, setting) for port, setting in outer]

    def program(self) -> Program:
        """How to run the server.

        Raises:
            ServiceDownError: SeaweedFS is not installed, or files of another user block it.
        """
        self._data.mkdir(mode=0o700, exist_ok=True)
        for port, _ in self.ports():
            _remove_left_sockets(port)
        return Program(
            name=self.name,
            command=(str(_binary()), "mini", *self._arguments()),
            environment=child_environment(without=("AWS_", "WEED_", "S3_"), **self._secrets()),
            folder=self._data,
        )

    def is_ready(self, child: Child) -> bool:
        """Whether this child process answers a signed request."""
        # Imported here: it takes a third of a second, while the services are starting already.
        from botocore.exceptions import BotoCoreError, ClientError

        if not child.listens_on(self._settings.s3_port):
            return False
        try:
            self._client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def provision(self) -> None:
        """Create missing buckets.

        Raises:
            ServiceDownError: a bucket cannot be created, most likely because of its name.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        existing = {bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]}
        for bucket in sorted({MLFLOW_BUCKET, self._settings.s3_bucket} - existing):
            try:
                self._client.create_bucket(Bucket=bucket)
            except (BotoCoreError, ClientError) as error:
                line = str(error).splitlines()[0]
                raise ServiceDownError(f"Cannot create bucket {bucket} (READMISSION_S3_BUCKET): {line}") from None

    def may_retry(self, _log_line: str) -> bool:
        """Whether it ended for a temporary reason: never."""
        return False

    @cached_property
    def _client(self) -> "S3Client":
        endpoint = f"http://{LOOPBACK}:{self._settings.s3_port}"
        keys = self._credentials["s3_access_key"], self._credentials["s3_secret_key"]
        return s3_client(endpoint, *keys, _PROBE_SECONDS)

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
            # In its working folder: the default is /tmp, where a file of another user would block it.
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
        # Without signing keys the internal ports serve objects to anybody. The keys sign requests within this process
        # that are valid for seconds, so each start generates new ones.
        signing = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")
        return {
            **{f"WEED_{name}_KEY": secrets.token_urlsafe(32) for name in signing},
            "WEED_ADMIN_USER": "admin",
            "WEED_ADMIN_PASSWORD": self._credentials["s3_admin"],
            "AWS_ACCESS_KEY_ID": self._credentials["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": self._credentials["s3_secret_key"],
        }


def s3_client(endpoint: str, access_key: str, secret_key: str, seconds: int) -> "S3Client":
    """A client without retries and with a timeout of ``seconds``, for probing a server."""
    import boto3
    from botocore.config import Config

    # A separate session, since boto3's default session is global state.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1}, proxies={}),
    )


def _remove_left_sockets(port: int) -> None:
    # The names of its internal sockets are fixed. The port is free, so no running server needs them.
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
        raise ServiceDownError("SeaweedFS is not installed: install what requirements/run.txt lists")
    return Path(found)
