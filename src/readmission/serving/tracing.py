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


def traced(app: ASGIApp, collector: str) -> ASGIApp:
    """Have every request but those of probes make a span, below the caller's if it sent one (W3C Trace Context).

    A span has method, path, status and the ids of the answer; never a body. Spans are sent in batches by a thread of
    their own; what a collector does not take is dropped.

    Args:
        app: to trace.
        collector: address of one that takes OTLP over HTTP, such as ``http://127.0.0.1:4318``.
    """
    resource = Resource.create({SERVICE_NAME: SERVICE, SERVICE_VERSION: __version__})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OpenTelemetryMiddleware(
        app,
        tracer_provider=provider,
        excluded_urls=_PROBES,
        exclude_spans=["receive", "send"],
        http_capture_headers_server_response=_HEADERS,
    )
