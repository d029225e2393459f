"""Spans: of the caller's trace, sampled as the caller says, linked within bounds, and nothing at all when off."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import tracing
from ops.otlp import Exporter
from ops.tracing import MAX_LINKS, Kind, Span, SpanContext, Tracer
from tests.support.collector import collecting

CONTEXT = SpanContext("ab" * 16, "cd" * 8, sampled=True)
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1).map("{:032x}".format),
    st.integers(1, 2**64 - 1).map("{:016x}".format),
    st.booleans(),
)


class Ticking:
    """A clock that a microsecond passes on with each look."""

    now = 1_000_000

    def micros(self) -> int:
        self.now += 1
        return self.now

    def monotonic(self) -> float:
        return self.now / 1e6


@pytest.fixture
def spans() -> list[Span]:
    return []


def tracer(spans: list[Span], ratio: float = 1.0) -> Tracer:
    return Tracer(spans.append, ratio=ratio, clock=Ticking())


def record(context: SpanContext) -> list[tuple[str, bytes]]:
    return [("other", b"x"), ("traceparent", context.traceparent)]


@given(CONTEXTS)
def test_a_context_is_what_its_header_says(context: SpanContext) -> None:
    assert tracing.parse(context.traceparent) == context


@pytest.mark.parametrize(
    "text", [b"", b"00", b"00-" + b"0" * 32 + b"-" + b"c" * 16 + b"-01", CONTEXT.traceparent.upper(), b"01" + CONTEXT.traceparent[2:]]
)
def test_what_is_no_context_is_none(text: bytes) -> None:
    assert tracing.parse(text) is None


def test_a_span_is_below_its_parent_and_takes_its_time(spans: list[Span]) -> None:
    made = tracer(spans)
    span = made.start("GET /v1/events", Kind.SERVER, parent=CONTEXT)
    made.end(span)
    assert (span.context.trace_id, span.parent_id, span.ended - span.started) == (CONTEXT.trace_id, CONTEXT.span_id, 1)
    assert spans == [span]


@pytest.mark.parametrize(("flag", "ratio", "told"), [(True, 0.0, 1), (False, 1.0, 0)])
def test_the_callers_flag_goes_before_our_share(spans: list[Span], flag: bool, ratio: float, told: int) -> None:
    made = tracer(spans, ratio)
    made.end(made.start("x", Kind.SERVER, parent=CONTEXT._replace(sampled=flag)))
    assert len(spans) == told


def test_our_share_is_the_same_traces_in_every_process() -> None:
    ids = [f"{number * 2**60:032x}" for number in range(1, 16)]
    chosen = [[tracer([], 0.5).start("x", Kind.SERVER, trace_id=each).context.sampled for each in ids] for _ in range(2)]
    assert chosen[0] == chosen[1] == [int(each, 16) < 2**63 for each in ids]


def test_a_batch_is_below_its_first_record_and_linked_to_the_others_within_bounds(spans: list[Span]) -> None:
    contexts = [SpanContext(f"{number:032x}", f"{number:016x}", sampled=number > 1) for number in range(1, 100)]
    span = tracer(spans).batch("chain", [record(contexts[2]), *map(record, contexts), [("traceparent", b"junk")], []])
    assert (span.context.trace_id, span.parent_id) == (contexts[2].trace_id, contexts[2].span_id)
    assert span.links == (contexts[1], *contexts[3 : 2 + MAX_LINKS])


def test_of_stored_events_our_share_of_the_traces_is_taken(spans: list[Span]) -> None:
    """Their header no longer tells what the caller wanted."""
    low, high = (SpanContext(f"{1:016x}{number:016x}", "cd" * 8, sampled=True) for number in (1, 2**64 - 1))
    span = tracer(spans, 0.5).batch("take", [record(high), record(low)], is_flag_known=False)
    assert (span.parent_id, span.context.trace_id, span.links) == (low.span_id, low.trace_id, ())


def test_a_producers_span_is_the_one_that_its_records_name_already(spans: list[Span]) -> None:
    """Their header is made of the event, so that a repeat has the same: the span takes its id from there."""
    made, other = tracer(spans), CONTEXT._replace(trace_id="12" * 16)
    named = CONTEXT._replace(span_id="ef" * 8)
    with tracing.batch(made, "chain", [record(CONTEXT)]), tracing.child("announce", Kind.PRODUCER, told=[[], record(other), record(named)]):
        pass
    announce, chain = spans
    assert (announce.context, announce.parent_id) == (named, chain.context.span_id)


def test_without_a_tracer_a_batch_is_just_done() -> None:
    with tracing.batch(None, "chain", [record(CONTEXT)]), tracing.child("announce"):
        pass


def test_a_batch_of_unsampled_records_is_not_told(spans: list[Span]) -> None:
    made = tracer(spans)
    made.end(made.batch("chain", [record(CONTEXT._replace(sampled=False)), []]))
    assert spans == []


def test_a_request_to_somebody_else_is_in_the_events_trace_and_says_so(spans: list[Span]) -> None:
    with tracing.call(tracer(spans), "deliver", CONTEXT._replace(sampled=False)) as said:
        assert said == CONTEXT
    (span,) = spans
    assert (span.name, span.kind, span.context, span.parent_id) == ("deliver", Kind.CLIENT, CONTEXT, None)
    with tracing.call(None, "deliver", CONTEXT) as said:
        assert said is CONTEXT


def test_a_part_of_a_request_is_below_it_and_fails_with_it(spans: list[Span]) -> None:
    made = tracer(spans)
    above = made.start("POST /v1/events", Kind.SERVER, parent=CONTEXT)
    with pytest.raises(ValueError, match="broken"), made.current(above), tracing.child("publish", Kind.PRODUCER):
        raise ValueError("broken")
    assert [(span.name, span.parent_id, span.failed) for span in spans] == [("publish", above.context.span_id, True)]


def test_without_a_request_there_are_no_parts(spans: list[Span]) -> None:
    with tracing.child("publish"):
        pass
    assert spans == []


async def test_spans_reach_the_collector_as_they_were_and_are_sent_at_the_end(spans: list[Span]) -> None:
    other = SpanContext("12" * 16, "34" * 8, sampled=True)
    with collecting() as collector:
        exporter = Exporter(collector.url, "hyrelog-test")
        made = Tracer(exporter.emit, ratio=1, clock=Ticking())
        span = made.start("chain", Kind.CONSUMER, parent=CONTEXT, links=(other,), attributes={"events": 3})
        made.end(span, failed=True)
        await exporter.close()
        (told,) = collector.spans
    assert (told.service, told.name, told.kind, told.failed, told.micros) == ("hyrelog-test", "chain", 5, True, 1)
    assert (told.trace_id, told.span_id, told.parent_id) == (*span.context[:2], CONTEXT.span_id)
    assert (told.links, told.attributes) == ((other[:2],), {"events": 3})


async def test_spans_of_each_kind_can_be_sent() -> None:
    """One that can't would take the work it is about down with it."""
    with collecting() as collector:
        exporter = Exporter(collector.url, "hyrelog-test")
        made = Tracer(exporter.emit, ratio=1, clock=Ticking())
        for kind in Kind:
            made.end(made.start("x", kind))
        await exporter.close()
        assert {told.kind for told in collector.spans} == {kind.value for kind in Kind}


def test_a_collector_that_is_away_holds_up_nobody() -> None:
    """Ten times what the queue holds is taken at once, and the end of the process waits two seconds. A process of its own, as the
    exporter goes on trying with a randomness that hypothesis forbids others meanwhile."""
    code = """
import asyncio
from ops.clock import SystemClock
from ops.otlp import Exporter
from ops.tracing import Kind, Tracer

async def main():
    clock = SystemClock()
    exporter = Exporter("http://127.0.0.1:9", "hyrelog-test")
    made = Tracer(exporter.emit, ratio=1, clock=clock)
    for _ in range(20_480):
        made.end(made.start("x", Kind.INTERNAL))
    began = clock.monotonic()
    await exporter.close()
    print(clock.monotonic() - began)

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=30)
    assert float(ended.stdout) < 4


def test_without_a_collector_the_sdk_is_not_loaded() -> None:
    """What is not used must cost neither start-up time nor memory. FastAPI loads the API package itself."""
    code = """
import sys, api.app, ingest.app, streams.app, ops.traced
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf")
sys.exit(any(name.startswith(heavy) for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
