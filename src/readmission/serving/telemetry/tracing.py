"""Traces of requests for OpenTelemetry, where a collector is set."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.types import ASGIApp

from readmission import __version__

SERVICE = "readmission-api"

_PROBES = "/live,/ready,/health,/metrics"
_HEADERS = ["x-request-id", "x-prediction-id", "x-model-version"]


class Tracing:
    """Makes a span of every request but those of probes, below the caller's if it sent one (W3C Trace Context).

    A span has method, path, status and the ids of the answer; never a body. Spans are sent in batches by a thread of
    their own; what a collector does not take is dropped.

    Args:
        collector: address of one that takes OTLP over HTTP, such as ``http://127.0.0.1:4318``.
    """

    def __init__(self, collector: str) -> None:
        resource = Resource.create({SERVICE_NAME: SERVICE, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def around(self, app: ASGIApp) -> ASGIApp:
        """Trace an application."""
        return OpenTelemetryMiddleware(
            app,
            tracer_provider=self._provider,
            excluded_urls=_PROBES,
            exclude_spans=["receive", "send"],
            http_capture_headers_server_response=_HEADERS,
        )

    def start(self) -> None:
        """Nothing to begin."""

    def stop(self) -> None:
        """Send what waits."""
        self._provider.shutdown()
