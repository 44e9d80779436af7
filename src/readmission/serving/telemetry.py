"""What Prometheus sees. One registry per application, so that two in one process do not mix."""

from http import HTTPMethod
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from readmission.schema import LABELS
from readmission.serving.errors import KINDS
from readmission.serving.scorer import Answer, Scorer

BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
"""Upper bounds in seconds: one record takes tenths of a millisecond."""

_METHODS = frozenset(HTTPMethod)


class Telemetry:
    """The metrics of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "predict_requests", "Prediction requests", ("endpoint", "method", "status"), registry=self._registry
        )
        self._latency = Histogram(
            "predict_latency_seconds", "Time to answer", ("endpoint",), buckets=BUCKETS, registry=self._registry
        )
        self._predictions = Counter(
            "predictions", "Predictions by class", ("readmission_class", "model_version"), registry=self._registry
        )
        self._errors = Counter(
            "predict_errors", "Prediction requests without an answer", ("error_type",), registry=self._registry
        )
        self._in_progress = Gauge(
            "predict_requests_in_progress", "Prediction requests under way", registry=self._registry
        )
        self._model = Gauge(
            "model_info", "1 for the model that serves", ("name", "model_version", "model_type"),
            registry=self._registry,
        )  # fmt: skip
        self._unusual = Counter(
            "unusual_values", "Values that the model was not trained on", ("feature", "kind"), registry=self._registry
        )
        self._log_stored = Counter("predictions_logged", "Predictions and outcomes kept", registry=self._registry)
        self._log_dropped = Counter("predictions_dropped", "Predictions and outcomes lost", registry=self._registry)
        self._log_queued = Gauge("prediction_queue_entries", "Predictions waiting in memory", registry=self._registry)
        self._log_spooled = Gauge("prediction_spool_bytes", "Predictions waiting on disk", registry=self._registry)
        self._log_reachable = Gauge("prediction_store_up", "1 while predictions can be kept", registry=self._registry)
        for kind in KINDS:  # a rate needs the zero before the first error
            self._errors.labels(kind.name)

    def model_changed(self, scorer: Scorer) -> None:
        """Say which model serves."""
        self._model.clear()
        self._model.labels(scorer.metadata.name, scorer.version, scorer.metadata.model_type).set(1)
        for label in LABELS:
            self._predictions.labels(label, scorer.version)

    def predicted(self, answer: Answer) -> None:
        """Count a prediction."""
        self._predictions.labels(answer.label, answer.version).inc()

    def unusual(self, feature: str, kind: str) -> None:
        """Count a value that the model was not trained on."""
        self._unusual.labels(feature, kind).inc()

    def logged(self, stored: int, dropped: int) -> None:
        """Count entries of the prediction log that were kept, and that were lost."""
        self._log_stored.inc(stored)
        self._log_dropped.inc(dropped)

    def waiting(self, queued: int, spooled: int, reachable: bool) -> None:
        """Say how the prediction log is."""
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
        """Count a prediction request that ended; ``error_type`` is None for one that got its answer."""
        self._in_progress.dec()
        # A caller may send any word as method: without this, each would make a series.
        self._requests.labels(endpoint, method if method in _METHODS else "other", str(status)).inc()
        self._latency.labels(endpoint).observe(seconds)
        if error_type is not None:
            self._errors.labels(error_type).inc()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
