"""Metrics for Prometheus. One registry per application, so that two in one process do not mix.

Several processes on one socket count in files of one folder (``multiprocess``); whichever of them is asked answers for
all.
"""

from collections.abc import Sequence
from http import HTTPMethod
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from readmission.schema import LABELS
from readmission.serving.telemetry.multiprocess import shared_folder

BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
"""Upper bounds in seconds: one record takes tenths of a millisecond."""

_METHODS = frozenset(HTTPMethod)

_Among = Literal["livesum", "livemax", "livemin"]


class _Series(NamedTuple):
    """The metrics that one request changes."""

    requests: Counter
    latency: Histogram
    errors: Counter | None


class Metrics:
    """The metrics of one application.

    Args:
        error_types: every value that the label ``error_type`` can have.
    """

    def __init__(self, error_types: Sequence[str] = ()) -> None:
        self._error_types = tuple(error_types)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "predict_requests", "Prediction requests", ("endpoint", "method", "status", "model_version"),
            registry=self._registry,
        )  # fmt: skip
        self._latency = Histogram(
            "predict_latency_seconds", "Time to answer", ("endpoint", "model_version"), buckets=BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        self._predictions = Counter(
            "predictions", "Predictions by class", ("readmission_class", "model_version"), registry=self._registry
        )
        self._errors = Counter(
            "predict_errors", "Prediction requests without a prediction", ("error_type", "model_version"),
            registry=self._registry,
        )  # fmt: skip
        self._in_progress = self._gauge("predict_requests_in_progress", "Prediction requests under way", "livesum")
        self._model = self._gauge(
            "model_info", "1 for the model that serves", "livemax", ("name", "model_version", "model_type")
        )
        self._served: Gauge | None = None
        self._unseen = Counter(
            "unseen_values", "Values that the model was not trained on", ("feature", "reason"), registry=self._registry
        )
        self._log_stored = Counter(
            "predictions_logged", "Predictions and outcomes stored in the prediction log", registry=self._registry
        )
        self._log_dropped = Counter(
            "predictions_dropped",
            "Predictions and outcomes that found the prediction log full",
            registry=self._registry,
        )
        self._log_queued = self._gauge("prediction_queue_records", "Predictions waiting in memory", "livesum")
        # All processes see the same disk and the same database.
        self._log_spooled = self._gauge("prediction_spool_bytes", "Predictions waiting on disk", "livemax")
        self._log_reachable = self._gauge("prediction_store_up", "1 while the database takes predictions", "livemin")
        self._series: dict[tuple[str, str, int, str | None], _Series] = {}
        self._of_class: dict[tuple[str, str], Counter] = {}
        self._serves("none")

    def model_changed(self, name: str, version: str, model_type: str) -> None:
        """Record which model serves."""
        if self._served is not None:  # series cannot be taken away from several processes' metrics
            self._served.set(0)
        self._served = self._model.labels(name, version, model_type)
        self._served.set(1)
        self._serves(version)
        for label in LABELS:
            self._of_class[label, version] = self._predictions.labels(label, version)

    def _serves(self, version: str) -> None:
        self._version = version
        self._series = {}
        for error_type in self._error_types:  # a rate needs the zero before the first error
            self._errors.labels(error_type, version)

    def predicted(self, label: str, version: str) -> None:
        """Count a prediction."""
        key = (label, version)
        counter = self._of_class.get(key)
        if counter is None:
            counter = self._of_class[key] = self._predictions.labels(*key)
        counter.inc()

    def unseen(self, feature: str, reason: str, count: int = 1) -> None:
        """Count values that the model was not trained on."""
        self._unseen.labels(feature, reason).inc(count)

    def logged(self, stored: int, dropped: int) -> None:
        """Count records of the prediction log that were stored, and that were dropped."""
        self._log_stored.inc(stored)
        self._log_dropped.inc(dropped)

    def waiting(self, queued: int, spooled: int, reachable: bool) -> None:
        """Record how much waits to be stored, and whether the database takes it."""
        self._log_queued.set(queued)
        self._log_spooled.set(spooled)
        self._log_reachable.set(reachable)

    def predicted_batch(self, labels: npt.NDArray[np.intp], version: str) -> None:
        """Count the predictions of a batch: positions in LABELS, shape (n,)."""
        for label, count in zip(LABELS, np.bincount(labels, minlength=len(LABELS)), strict=True):
            self._predictions.labels(label, version).inc(int(count))

    def started(self) -> None:
        """Count a prediction request that begins."""
        self._in_progress.inc()

    def finished(self, endpoint: str, method: str, status: int, seconds: float, error_type: str | None) -> None:
        """Count a prediction request that ended; ``error_type`` is None for one that succeeded."""
        self._in_progress.dec()
        # A caller may send any word as method: without this, each would make a series.
        key = (endpoint, method if method in _METHODS else "other", status, error_type)
        series = self._series.get(key) or self._make_series(*key)
        series.requests.inc()
        series.latency.observe(seconds)
        if series.errors is not None:
            series.errors.inc()

    def answered(self, endpoint: str, seconds: Sequence[float]) -> None:
        """Count POST requests that began and succeeded in one go."""
        key = (endpoint, "POST", 200, None)
        series = self._series.get(key) or self._make_series(*key)
        series.requests.inc(len(seconds))
        for taken in seconds:
            series.latency.observe(taken)

    def _make_series(self, endpoint: str, method: str, status: int, error_type: str | None) -> _Series:
        """Find the series of a request by their labels, and keep them: that takes longer than counting."""
        found = _Series(
            self._requests.labels(endpoint, method, str(status), self._version),
            self._latency.labels(endpoint, self._version),
            None if error_type is None else self._errors.labels(error_type, self._version),
        )
        self._series[endpoint, method, status, error_type] = found
        return found

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format; with several processes, those of all."""
        folder = shared_folder()
        if folder is None:
            return generate_latest(self._registry)
        _forget_dead(folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _gauge(self, name: str, what: str, among_processes: _Among, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, what, labels, registry=self._registry, multiprocess_mode=among_processes)


def _forget_dead(folder: Path) -> None:
    """Remove the gauges of processes that have ended; their counters stay."""
    numbers = {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}
    for number in numbers:
        if not Path("/proc", number).exists():
            mark_process_dead(int(number), str(folder))  # type: ignore[no-untyped-call]
