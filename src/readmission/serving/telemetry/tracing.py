"""Traces of requests for OpenTelemetry, where a collector is set."""

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp

from readmission import __version__
from readmission.serving.telemetry.spans import Finished

SERVICE = "readmission-api"

_PROBES = "/live,/ready,/health,/metrics"
_HEADERS = ["x-request-id", "x-prediction-id", "x-model-version"]


class Tracing:
    """Makes a span of every sampled request but those of probes, below the caller's if it sent one (W3C Trace Context).

    A span has method, path, status and the ids of the answer; never a body. Spans are sent in batches by a thread of
    their own; what a collector does not take is dropped.

    Args:
        collector: address of one that takes OTLP over HTTP, such as ``http://127.0.0.1:4318``.
        sample_ratio: share of requests that are traced, 0 to 1; for a request within a trace its caller decides.
    """

    def __init__(self, collector: str, sample_ratio: float) -> None:
        resource = Resource.create({SERVICE_NAME: SERVICE, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(ParentBased(TraceIdRatioBased(sample_ratio)), resource)
        exporter = OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)
        self._propagator = TraceContextTextMapPropagator()

    def around(self, app: ASGIApp) -> ASGIApp:
        """Trace the requests of an application."""
        return OpenTelemetryMiddleware(
            app,
            tracer_provider=self._provider,
            excluded_urls=_PROBES,
            exclude_spans=["receive", "send"],
            http_capture_headers_server_response=_HEADERS,
        )

    def record(self, request: Finished, traceparent: str, headers: Mapping[str, str]) -> None:
        """Record a request that the application did not see, with the attributes that ``around`` gives to others."""
        context = self._propagator.extract({"traceparent": traceparent} if traceparent else {})
        end = int(request.at * 1e9)
        span = self._tracer.start_span(
            f"{request.method} {request.path}",
            context,
            trace.SpanKind.SERVER,
            start_time=end - int(request.seconds * 1e9),
        )
        if span.is_recording():
            span.set_attributes(_attributes(request, headers))
            if request.status >= 500:
                span.set_status(trace.StatusCode.ERROR)
        span.end(end)

    def start(self) -> None:
        """Nothing to begin."""

    def stop(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _attributes(request: Finished, headers: Mapping[str, str]) -> dict[str, str | int | list[str]]:
    named = {"x-request-id": request.request_id, **headers}
    answered = {f"http.response.header.{name.replace('-', '_')}": [value] for name, value in named.items()}
    return {
        "http.method": request.method,
        "http.route": request.path,
        "http.target": request.path,
        "http.status_code": request.status,
        **answered,
    }
