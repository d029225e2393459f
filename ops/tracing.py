"""Spans: what a request, a chunk or a batch took, told to an OpenTelemetry collector (W3C Trace Context in and out).

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set: then there is no tracer, and a caller's whole cost is to see that.
Ids are ours to choose, so that the trace id of a span is the ``X-Trace-Id`` of the answer and the ``traceId`` of the event.
Names and attributes hold route templates, topics, counts and statuses; never what a client sent.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ops.clock import Clock, SystemClock
from ops.settings import Settings

Attributes = Mapping[str, str | int | float | bool]
Headers = Iterable[tuple[str, bytes]]

MAX_LINKS = 32
"""Of one batch: it may hold thousands of requests' records."""
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
_SAMPLED = 1
_OFF = nullcontext()
_CURRENT: ContextVar[tuple[Tracer, Span] | None] = ContextVar("hyrelog_span", default=None)


class SpanContext(NamedTuple):
    """Where in which trace: 32 and 16 lower-case hex digits."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> bytes:
        """As a header says it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}".encode()


class Kind(Enum):
    """OpenTelemetry's kinds of span; the values are its protocol's."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(slots=True)
class Span:
    """Something that took time. Times are microseconds since 1970."""

    name: str
    kind: Kind
    context: SpanContext
    parent_id: str | None
    started: int
    links: Sequence[SpanContext] = ()
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)
    ended: int = 0
    failed: bool = False


class Tracer:
    """Begins and ends spans; those of sampled traces go to ``emit``, which must not wait."""

    def __init__(self, emit: Callable[[Span], None], *, ratio: float, clock: Clock) -> None:
        """``ratio`` of the traces that begin here are sampled, the same ones in every process; else the caller's flag counts."""
        self._emit = emit
        self._bound = round(ratio * (1 << 64))
        self._clock = clock

    def start(
        self,
        name: str,
        kind: Kind,
        *,
        trace_id: str = "",
        parent: SpanContext | None = None,
        span_id: str | None = None,
        links: Sequence[SpanContext] = (),
        attributes: Attributes | None = None,
    ) -> Span:
        """Begin a span below ``parent``, or a trace of that id, or a new one."""
        trace_id = parent.trace_id if parent else trace_id or f"{random.getrandbits(128) or 1:032x}"
        sampled = parent.sampled if parent else int(trace_id[16:], 16) < self._bound
        context = SpanContext(trace_id, span_id or f"{random.getrandbits(64) or 1:016x}", sampled)
        return Span(name, kind, context, parent and parent.span_id, self._clock.micros(), links, dict(attributes or {}))

    def batch(self, name: str, records: Iterable[Headers], *, is_flag_known: bool = True) -> Span:
        """A consumer's span for many records: below the first one's that is sampled, with links to the others', 32 at most.

        Of stored events the flag is no longer known: ``is_flag_known=False`` takes our share of their traces.
        """
        found = self._sampled(records, (1 << 64) if is_flag_known else self._bound)
        return self.start(name, Kind.CONSUMER, parent=found[0] if found else _UNSAMPLED, links=tuple(found[1:]))

    def end(self, span: Span, *, failed: bool = False) -> None:
        """The span is over; ``failed`` marks what was no mere refusal."""
        if span.context.sampled:
            span.ended = self._clock.micros()
            span.failed = failed
            self._emit(span)

    def _sampled(self, records: Iterable[Headers], bound: int) -> list[SpanContext]:
        found: dict[SpanContext, None] = {}
        for headers in records:
            context = of_record(headers)
            if context is not None and context.sampled and int(context.trace_id[16:], 16) < bound:
                found[context] = None
                if len(found) > MAX_LINKS:
                    break
        return list(found)

    @contextmanager
    def current(self, span: Span) -> Iterator[None]:
        """Within this, ``child`` makes spans below this one."""
        token = _CURRENT.set((self, span))
        try:
            yield
        finally:
            _CURRENT.reset(token)


_UNSAMPLED = SpanContext("0" * 32, "0" * 16, sampled=False)
"""Of a batch in which nobody's trace is sampled: nor is it."""


def parse(traceparent: bytes) -> SpanContext | None:
    """The context that a ``traceparent`` of version 00 names; ``None`` when it is none."""
    match = _TRACEPARENT(traceparent)
    return match and SpanContext(match[1].decode(), match[2].decode(), bool(int(match[3], 16) & _SAMPLED))


def of_record(headers: Headers) -> SpanContext | None:
    """The context in a Kafka record's headers."""
    return next((parse(value) for name, value in headers if name == "traceparent" and value), None)


def batch(tracer: Tracer | None, name: str, records: Iterable[Headers], *, is_flag_known: bool = True) -> AbstractContextManager[None]:
    """A span around what a consumer does with records, if there is a tracer."""
    return _OFF if tracer is None else _batch(tracer, name, records, is_flag_known)


def child(name: str, kind: Kind = Kind.INTERNAL, *, told: Iterable[Headers] = ()) -> AbstractContextManager[None]:
    """A span around a part of the work at hand, if that is traced.

    With ``told``, the headers of records to be sent, it is the span that those of its trace name already.
    """
    current = _CURRENT.get()
    return _OFF if current is None else _child(*current, name, kind, told)


@contextmanager
def call(tracer: Tracer | None, name: str, context: SpanContext) -> Iterator[SpanContext]:
    """A span around a request to somebody else, in a trace that is known by its id alone; what its ``traceparent`` is to say.

    Without a tracer, ``context`` as it is.
    """
    if tracer is None:
        yield context
        return
    span = tracer.start(name, Kind.CLIENT, trace_id=context.trace_id, span_id=context.span_id)
    with _ending(tracer, span):
        yield span.context


@contextmanager
def _batch(tracer: Tracer, name: str, records: Iterable[Headers], is_flag_known: bool) -> Iterator[None]:
    span = tracer.batch(name, records, is_flag_known=is_flag_known)
    with tracer.current(span), _ending(tracer, span):
        yield


@contextmanager
def _child(tracer: Tracer, above: Span, name: str, kind: Kind, told: Iterable[Headers]) -> Iterator[None]:
    span_id = _named(told, above.context) if above.context.sampled else None
    span = tracer.start(name, kind, parent=above.context, span_id=span_id)
    with _ending(tracer, span):
        yield


@contextmanager
def _ending(tracer: Tracer, span: Span) -> Iterator[None]:
    try:
        yield
    except Exception:
        tracer.end(span, failed=True)
        raise
    tracer.end(span)


def _named(records: Iterable[Headers], above: SpanContext) -> str | None:
    found = (of_record(headers) for headers in records)
    return next((context.span_id for context in found if context and context.trace_id == above.trace_id), None)


@asynccontextmanager
async def opened(settings: Settings, service: str) -> AsyncIterator[Tracer | None]:
    """The process's tracer; ``None`` when no collector is set. Leaving sends what is left, for two seconds at most."""
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        yield None
        return
    from ops.otlp import Exporter  # noqa: PLC0415 - the SDK takes 0.2 s and 20 MB: only where it is used

    exporter = Exporter(endpoint, service)
    try:
        yield Tracer(exporter.emit, ratio=settings.otel_traces_sampler_arg, clock=SystemClock())
    finally:
        await exporter.close()
