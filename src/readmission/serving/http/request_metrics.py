"""What is recorded of every request, whichever way it was answered: metrics of predictions, access log of all."""

from collections.abc import Sequence

from readmission.serving.http.access_log import AccessLog, FinishedRequest
from readmission.serving.telemetry.metrics import Metrics


class RequestMetrics:
    """Records requests that begin and end.

    Args:
        metrics: where predictions are counted.
        paths: whose requests are counted.
        access_log: None: there is none.
    """

    def __init__(self, metrics: Metrics, paths: frozenset[str], access_log: AccessLog | None) -> None:
        self._metrics = metrics
        self._paths = paths
        self._access_log = access_log

    def begin(self, path: str) -> None:
        """Record that a request begins."""
        if path in self._paths:
            self._metrics.started()

    def end(self, request: FinishedRequest, error_type: str | None) -> None:
        """Record that a request has ended; ``error_type`` is None for one that succeeded."""
        if request.path in self._paths:
            self._metrics.finished(request.path, request.method, request.status, request.seconds, error_type)
        if self._access_log is not None:
            self._access_log.add(request)

    def succeeded(self, path: str, requests: Sequence[FinishedRequest]) -> None:
        """Record POST requests to one path that began and succeeded in one go: nobody can see them under way."""
        if path in self._paths:
            self._metrics.answered(path, [request.seconds for request in requests])
        if self._access_log is not None:
            self._access_log.add_many(requests)
