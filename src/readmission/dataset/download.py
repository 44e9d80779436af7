"""Download one file over HTTP, completely or not at all, with plain error messages that hold no secret of a URL."""

from http import HTTPStatus
from http.client import responses
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from urllib3.exceptions import NameResolutionError

from readmission.dataset.source_file import Report
from readmission.errors import BadInputError, ServiceDownError

CONNECT_SECONDS = 4
"""Seconds per address of the host; about ten in all for a host with an IPv4 and an IPv6 address."""
READ_SECONDS = 30
CHUNK_BYTES = 1 << 18


def download(url: str, path: Path, label: str, report: Report) -> None:
    """Download ``url`` to ``path``. The caller deletes ``path`` if this fails.

    Args:
        url: http or https; may hold a login and a query.
        path: a file to write.
        label: name of the address in messages, without secrets.
        report: called with the number of bytes; the total is 0 if the server does not send it.

    Raises:
        BadInputError: the server has no such file, wants a login, or answers with a web page.
        ServiceDownError: the server cannot be reached, fails, or closes the connection.
    """
    fetch = pooch.HTTPDownloader(
        progressbar=_Progress(report), chunk_size=CHUNK_BYTES, timeout=(CONNECT_SECONDS, READ_SECONDS)
    )
    try:
        fetch(url, str(path), None)
    except requests.HTTPError as error:
        # pooch leaves the connection open after an error status.
        if error.response is not None:
            error.response.close()
        raise _refused(error, label) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise BadInputError(f"{label}: not a valid address") from None
    except requests.RequestException as error:
        host = urlsplit(url).hostname
        raise ServiceDownError(
            f"{label}: download from {host} failed ({_reason(error)}); try again later or give another data source"
        ) from None
    _refuse_web_page(path, label)


class _Progress:
    """Passes pooch's progress on, in place of a progress bar."""

    total = 0

    def __init__(self, report: Report) -> None:
        self._report = report
        self._done = 0

    def update(self, count: int) -> None:
        """Count further bytes; pooch counts whole chunks, so the last one may be too much."""
        self._done += count
        if count:
            self._report("download", min(self._done, self.total or self._done), self.total)

    def reset(self) -> None:
        """Set the count to 0; at the end pooch calls this and then counts the whole total once more."""
        self._done = 0

    def close(self) -> None:
        """Nothing to close."""


def _refused(error: requests.HTTPError, label: str) -> BadInputError | ServiceDownError:
    status = error.response.status_code if error.response is not None else HTTPStatus.BAD_GATEWAY
    answer = f"{label}: the server answers {status} {responses.get(status, '')}".rstrip()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return ServiceDownError(f"{answer}; try again later")
    return BadInputError(f"{answer}; check the address and that the file is public")


def _reason(error: requests.RequestException) -> str:
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NameResolutionError):
        return "no such host"
    reasons: tuple[tuple[type[requests.RequestException], str], ...] = (
        (requests.exceptions.SSLError, "its certificate is not trusted"),
        (requests.exceptions.ProxyError, "the proxy cannot be reached"),
        (requests.exceptions.ConnectTimeout, f"no answer within {CONNECT_SECONDS} seconds"),
        (requests.exceptions.ReadTimeout, f"nothing more came for {READ_SECONDS} seconds"),
        (requests.exceptions.ChunkedEncodingError, "the connection was closed early"),
        (requests.exceptions.ConnectionError, "no connection, or it was lost"),
        (requests.exceptions.TooManyRedirects, "it redirects too often"),
    )
    return next((text for kind, text in reasons if isinstance(error, kind)), "unknown reason")


def _refuse_web_page(path: Path, label: str) -> None:
    with path.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        raise BadInputError(
            f"{label}: this is a web page, not a CSV or zip file; give the address of the download itself"
        )
