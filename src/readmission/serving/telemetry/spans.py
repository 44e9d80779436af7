"""What the fast path hands to tracing; apart from it, since OpenTelemetry takes a tenth of a second to import."""

from collections.abc import Mapping
from typing import Protocol


class Finished(Protocol):
    """A request that has been answered (``http.access_log.FinishedRequest``)."""

    at: float
    request_id: str
    method: str
    path: str
    status: int
    seconds: float


class SpanRecorder(Protocol):
    """Records traces."""

    def record(self, request: Finished, traceparent: str, headers: Mapping[str, str]) -> None:
        """Record a request as a span.

        Args:
            request: that has been answered.
            traceparent: the caller's, of W3C Trace Context; empty without one.
            headers: of the answer, that belong into the span.
        """
