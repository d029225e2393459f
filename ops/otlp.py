"""Sending spans to a collector: OTLP over HTTP, by OpenTelemetry's own exporter, in a thread of its own.

The queue holds 2,048 spans; with the collector away the oldest are dropped, and nothing waits.
Headers, certificates and compression are the exporter's own variables (``OTEL_EXPORTER_OTLP_HEADERS`` …).
"""

from __future__ import annotations

import asyncio
import threading
from importlib.metadata import PackageNotFoundError, version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace import SpanContext as OtelContext

from ops.tracing import Kind, Span, SpanContext

_QUEUE_SPANS, _BATCH_SPANS = 2048, 512
_DELAY_MS = 1000
_EXPORT_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_FLAGS = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("hyrelog")
_KINDS = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.CONSUMER: SpanKind.CONSUMER,
    Kind.CLIENT: SpanKind.CLIENT,
}


class Exporter:
    """Takes ended spans, sends them in batches."""

    def __init__(self, endpoint: str, service: str) -> None:
        """``endpoint`` is the collector's base URL, ``service`` becomes ``service.name``."""
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        self._processor = BatchSpanProcessor(
            exporter, max_queue_size=_QUEUE_SPANS, schedule_delay_millis=_DELAY_MS, max_export_batch_size=_BATCH_SPANS
        )
        self._resource = Resource.create({"service.name": service, "service.version": _version()})

    def emit(self, span: Span) -> None:
        """Queue an ended span. Never waits."""
        parent = None if span.parent_id is None else _context(SpanContext(span.context.trace_id, span.parent_id, sampled=True))
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_context(span.context),
                parent=parent,
                resource=self._resource,
                attributes=span.attributes,
                links=[Link(_context(link)) for link in span.links],
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=span.started * 1000,
                end_time=span.ended * 1000,
                instrumentation_scope=_SCOPE,
            )
        )

    async def close(self) -> None:
        """Send what is queued, for two seconds at most: a collector that is away must not hold up the end of a process."""
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, _CLOSE_SECONDS)


def _context(context: SpanContext) -> OtelContext:
    return OtelContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=False, trace_flags=_FLAGS)


def _version() -> str:
    try:
        return version("hyrelog")
    except PackageNotFoundError:
        return "0.0.0+source"
