"""What is noted of every request, whoever answers it: metrics of predictions, and the log of all."""

from collections.abc import Sequence

from readmission.serving.http.access_log import AccessLog, Request
from readmission.serving.telemetry.metrics import Telemetry


class Observer:
    """Sees requests begin and end.

    Args:
        telemetry: the metrics.
        measured: paths whose requests they count.
        access: the log; None: there is none.
    """

    def __init__(self, telemetry: Telemetry, measured: frozenset[str], access: AccessLog | None) -> None:
        self._telemetry = telemetry
        self._measured = measured
        self._access = access

    def begins(self, path: str) -> None:
        """Note that a request begins."""
        if path in self._measured:
            self._telemetry.started()

    def ends(self, request: Request, error_type: str | None) -> None:
        """Note that a request has ended; ``error_type`` is None for one that got its answer."""
        if request.path in self._measured:
            self._telemetry.finished(request.path, request.method, request.status, request.seconds, error_type)
        if self._access is not None:
            self._access.add(request)

    def answered(self, path: str, requests: Sequence[Request]) -> None:
        """Note POST requests for one path that began and got their answers in one go: nobody can see them under way."""
        if path in self._measured:
            self._telemetry.answered(path, [request.seconds for request in requests])
        if self._access is not None:
            self._access.add_many(requests)
