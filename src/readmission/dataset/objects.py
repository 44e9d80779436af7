"""One bucket of an S3 endpoint: does an object exist, upload a file, download a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from readmission.dataset.source_file import Report, silent
from readmission.errors import BadInputError, ServiceDownError
from readmission.services import Services

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

REGION = "us-east-1"
CONNECT_SECONDS = 3
READ_SECONDS = 60
ATTEMPTS = 2
TRANSFER = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=64 << 20, use_threads=False)
"""No threads: for a server near by, one request is faster than the default, a multipart transfer in ten threads."""

ABSENT = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ObjectStore:
    """Objects of one bucket. If the server does not answer, requests fail within seconds.

    Args:
        services: endpoint, keys, and the bucket of the data files.
    """

    def __init__(self, services: Services) -> None:
        self.url = services.s3_url
        self.bucket = services.s3_bucket
        self._services = services

    @cached_property
    def _client(self) -> "S3Client":
        # Created on first use: that takes 0.15 seconds.
        return _make_client(self._services)

    def at(self, bucket: str) -> "ObjectStore":
        """Another bucket of the same endpoint, through the same client."""
        other = ObjectStore(self._services)
        other._client = self._client
        other.bucket = bucket
        return other

    def exists(self, key: str) -> bool:
        """Whether the object exists; False if the bucket does not exist.

        Raises:
            ServiceDownError: the server does not answer or refuses the login.
        """
        return self.etag(key) is not None

    def etag(self, key: str) -> str | None:
        """The ETag of an object, which changes with its content; None if there is no such object.

        Raises:
            ServiceDownError: the server does not answer or refuses the login.
        """
        try:
            with self._plain_errors(key):
                return self._client.head_object(Bucket=self.bucket, Key=key)["ETag"]
        except BadInputError:
            return None

    def put(self, path: Path, key: str, report: Report = silent) -> None:
        """Upload a file; the bucket is created if it is missing. Readers see the complete object or none.

        Raises:
            ServiceDownError: the server does not answer or refuses the login.
        """
        with self._plain_errors(key):
            self._create_bucket()
            with path.open("rb") as file:
                callback = _Bytes("upload", path.stat().st_size, report)
                self._client.upload_fileobj(file, self.bucket, key, Callback=callback, Config=TRANSFER)

    def get(self, key: str, path: Path, report: Report = silent) -> None:
        """Download an object to ``path``, which is replaced atomically once the object is complete.

        Raises:
            BadInputError: there is no such object.
            ServiceDownError: the server does not answer, refuses the login or closes the connection.
        """
        with self._plain_errors(key), TemporaryDirectory(dir=path.parent, prefix=".get-") as folder:
            size = self._client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
            part = Path(folder) / "object"
            with part.open("wb") as file:
                callback = _Bytes("fetch", size, report)
                self._client.download_fileobj(self.bucket, key, file, Callback=callback, Config=TRANSFER)
            part.replace(path)

    def _create_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if _code(error) not in ABSENT:
                raise
            self._client.create_bucket(Bucket=self.bucket)

    @contextmanager
    def _plain_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if _code(error) in ABSENT:
                raise BadInputError(f"s3://{self.bucket}/{key}: no such object at {self.url}") from None
            raise ServiceDownError(
                f"S3 at {self.url} refuses s3://{self.bucket}/{key} ({_code(error)}); check READMISSION_S3_ACCESS_KEY, "
                "READMISSION_S3_SECRET_KEY and what they may do"
            ) from None
        except (BotoCoreError, RetriesExceededError) as error:
            raise ServiceDownError(
                f"S3 at {self.url} does not answer ({type(error).__name__}); start it with `make stack` or set "
                "READMISSION_S3_URL"
            ) from None


class _Bytes:
    """Adds up the numbers of bytes that boto3 reports to its callback."""

    def __init__(self, what: str, total: int, report: Report) -> None:
        self._what, self._total, self._report = what, total, report
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._report(self._what, self._done, self._total)


def _make_client(services: Services) -> "S3Client":
    config = Config(
        s3={"addressing_style": "path"},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        # Servers other than Amazon's do not all know the checksums that boto3 adds by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies={} if urlsplit(services.s3_url).hostname in LOOPBACK else None,
    )
    # A separate session, since boto3's default session is global state.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=services.s3_url,
        aws_access_key_id=services.s3_access_key.get_secret_value(),
        aws_secret_access_key=services.s3_secret_key.get_secret_value(),
        region_name=REGION,
        config=config,
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
