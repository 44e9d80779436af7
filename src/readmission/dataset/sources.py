"""Names of a data source: as the user writes it, as messages show it, and as the cache's index stores it."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from readmission.errors import BadInputError

DEFAULT_URL = "https://archive.ics.uci.edu/static/public/296/diabetes+130-us+hospitals+for+years+1999-2008.zip"
"""The zip file of UCI dataset 296."""
DEFAULT_LABEL = "uci:296"
GDRIVE_URL = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
"""Where Google Drive serves a shared file without its warning page."""

MAX_SYNTHETIC_ROWS = 100_000_000
FORMS = "a path, http(s)://..., gdrive://FILE_ID, s3://bucket/key or synthetic:ROWS"


class Scheme(StrEnum):
    """How the file is obtained."""

    FILE = "file"
    WEB = "web"
    S3 = "s3"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Source:
    """One source of data.

    Attributes:
        scheme: how the file is obtained.
        label: shown in messages and stored with models; no login, no query.
        key: of the source in the index; two sources that may hold different files have different keys; no secret.
        location: path, URL with all its secrets, ``bucket/key`` or number of rows.
    """

    scheme: Scheme
    label: str
    key: str
    location: str

    @property
    def name(self) -> str:
        """The name of the source in messages about its content."""
        return self.label.removeprefix("file:")


def parse_source(text: str | None) -> Source:
    """Parse a data source.

    Args:
        text: path, URL, ``gdrive://ID``, ``s3://bucket/key`` or ``synthetic:ROWS``; None for the default source.

    Raises:
        BadInputError: it is none of these.
    """
    if text is None:
        return Source(Scheme.WEB, DEFAULT_LABEL, DEFAULT_LABEL, DEFAULT_URL)
    if text.startswith("synthetic:"):
        return _synthetic(text)
    if "://" in text:
        scheme = text.split("://")[0].lower()
        if scheme not in _PARSERS:
            raise BadInputError(f"Data source {scheme}://... is not supported; give {FORMS}")
        return _PARSERS[scheme](text)
    return _file(text)


def _synthetic(text: str) -> Source:
    rows = text.removeprefix("synthetic:")
    if not re.fullmatch("[1-9][0-9]{0,8}", rows) or int(rows) > MAX_SYNTHETIC_ROWS:
        raise BadInputError(f"Data source synthetic:ROWS takes a number of rows from 1 to {MAX_SYNTHETIC_ROWS}")
    return Source(Scheme.SYNTHETIC, text, text, rows)


def _file(text: str) -> Source:
    if not text.strip():
        raise BadInputError(f"The data source is empty; give {FORMS}")
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError:
        raise BadInputError(f"{text}: no such home folder") from None
    return Source(Scheme.FILE, f"file:{path.name}", f"file:{path}", str(path))


def _web(text: str) -> Source:
    try:
        parts = urlsplit(text)
        address = f"url:{parts.scheme.lower()}://{_host(parts)}{parts.path}"
    except ValueError:
        raise BadInputError("The data source is not a valid URL; give http(s)://host/path") from None
    # Another query may mean another file, but a query may hold a secret: the key holds its digest.
    query = f"#{hashlib.sha256(parts.query.encode()).hexdigest()}" if parts.query else ""
    return Source(Scheme.WEB, address, address + query, text)


def _host(parts: SplitResult) -> str:
    if not parts.hostname:
        raise ValueError
    return parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"


def _gdrive(text: str) -> Source:
    identity = text.split("://", 1)[1].strip("/")
    if not re.fullmatch("[A-Za-z0-9_-]+", identity):
        raise BadInputError("Data source gdrive://FILE_ID takes the id of a shared file: letters, digits, - and _")
    label = f"gdrive:{identity}"
    return Source(Scheme.WEB, label, label, GDRIVE_URL.format(identity))


def _s3(text: str) -> Source:
    location = text.split("://", 1)[1]
    bucket, _, key = location.partition("/")
    if not bucket or not key:
        raise BadInputError("Data source s3://bucket/key needs both a bucket and a key")
    label = f"s3://{location}"
    return Source(Scheme.S3, label, label, location)


_PARSERS: dict[str, Callable[[str], Source]] = {"http": _web, "https": _web, "gdrive": _gdrive, "s3": _s3}
