"""What of a request's headers matters to the way in, and the headers that every answer gets."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from readmission.serving.telemetry.ids import request_id

PREDICT_PATH = "/predict"

ADMITTED = "admitted"
"""In the state of an ASGI scope: name of the key of whom the fast lane has let in before it left the request to us."""

Headers = list[tuple[bytes, bytes]]

_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""An id is written to logs and sent back: no spaces, no line ends."""

SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


@dataclass(slots=True)
class Visit:
    """What the way in has to know of a request.

    Attributes:
        request_id: the caller's, if it sent a safe one.
        key: API key, empty without one.
        is_json: whether the body says that it is JSON.
        length: bytes of the body as announced, -1 where nothing is.
        forwarded: whether a proxy says for whom it asks.
        caller: name of its key, once it is let in with one.
    """

    request_id: str = ""
    key: str = ""
    is_json: bool = False
    length: int = -1
    forwarded: bool = False
    caller: str = ""


def read_visit(headers: Iterable[tuple[bytes, bytes]]) -> Visit:
    """Read what matters of the headers, in one pass."""
    visit = Visit()
    for name, value in headers:
        if name == b"content-type":
            visit.is_json = value[:16] == b"application/json"
        elif name == b"content-length":
            visit.length = int(value) if value.isdigit() else -1
        elif name == b"x-api-key":
            visit.key = value.decode("latin-1")
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            visit.key = visit.key or value[7:].decode("latin-1")
        elif name == b"x-request-id":
            visit.request_id = value.decode("latin-1")
        elif name == b"x-forwarded-for":
            visit.forwarded = True
    if not (visit.request_id and _SAFE_ID.fullmatch(visit.request_id)):
        visit.request_id = request_id()
    return visit


def own_headers(visit: Visit) -> Headers:
    """What every answer carries."""
    return [(b"x-request-id", visit.request_id.encode("ascii")), *SECURITY]
