"""The headers of a request that matter before its route, and those that every answer carries."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from readmission.serving.telemetry.ids import request_id

PREDICT_PATH = "/predict"

Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"

_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""An id is written to logs and sent back: no spaces, no line ends."""

SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


@dataclass(slots=True)
class RequestHeaders:
    """What the headers of one request say.

    Attributes:
        request_id: the caller's, if it sent a safe one, else a new one.
        api_key: empty without one.
        is_json: whether the body is said to be JSON.
        length: bytes of the body as announced, -1 where nothing is.
        is_forwarded: whether a proxy names another caller.
        traceparent: of W3C Trace Context, empty without one.
        key_name: name of the API key, once the request is authorised with one.
    """

    request_id: str = ""
    api_key: str = ""
    is_json: bool = False
    length: int = -1
    is_forwarded: bool = False
    traceparent: str = ""
    key_name: str = ""


def read_request_headers(headers: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
    """Read headers, their names in lower case, in one pass."""
    found = RequestHeaders()
    for name, value in headers:
        if name == b"content-type":
            found.is_json = value == JSON or is_json(value)
        elif name == b"content-length":
            found.length = int(value) if value.isdigit() else -1
        elif name == b"x-api-key":
            found.api_key = value.decode("latin-1")
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            found.api_key = found.api_key or value[7:].decode("latin-1")
        elif name == b"x-request-id":
            found.request_id = value.decode("latin-1")
        elif name == b"x-forwarded-for":
            found.is_forwarded = True
        elif name == b"traceparent":
            found.traceparent = value.decode("latin-1")
    if not (found.request_id and _SAFE_ID.fullmatch(found.request_id)):
        found.request_id = request_id()
    return found


def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type means JSON: ``application/json``, or ``application/`` with the suffix ``+json``."""
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type == JSON or (media_type.startswith(b"application/") and media_type.endswith(b"+json"))


def response_headers(headers: RequestHeaders) -> Headers:
    """Headers that every answer carries."""
    return [(b"x-request-id", headers.request_id.encode("ascii")), *SECURITY]
