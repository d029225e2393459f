"""One trace from the request to whoever reads the event: in headers, in the stored event, and in spans where a collector is set."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from ops.tracing import SpanContext
from tests.support.collector import Collector, Told
from tests.support.posting import LEAST, Producer
from tests.support.stack import LocalStack

CALLER = SpanContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
SERVER, PRODUCER, CONSUMER = 2, 4, 5


@pytest.fixture
def producer(stack: LocalStack) -> Iterator[Producer]:
    with httpx.Client(base_url=stack.base_url, verify=False) as client:
        yield Producer(stack, client)


def names(spans: list[Told]) -> dict[str, Told]:
    return {span.name: span for span in spans}


def test_one_post_is_one_trace_from_ingest_to_the_sinks(producer: Producer, collector: Collector) -> None:
    """Each process's span is below the one that sent it the record."""
    producer.store(traceparent=CALLER._replace(trace_id="ab" * 16).traceparent.decode())
    told = collector.wait("ab" * 16, 6)
    ways = [(span.name, span.service, span.kind) for span in told]
    assert sorted(ways) == [
        ("POST /v1/events", "hyrelog-ingest", SERVER),
        ("announce", "hyrelog-streams", PRODUCER),
        ("chain", "hyrelog-streams", CONSUMER),
        ("publish", "hyrelog-ingest", PRODUCER),
        ("take", "hyrelog-search", CONSUMER),
        ("take", "hyrelog-webhooks", CONSUMER),
    ]
    spans = names(told)
    assert {(span.name, span.parent_id) for span in told} == {
        ("POST /v1/events", CALLER.span_id),
        ("publish", spans["POST /v1/events"].span_id),
        ("chain", spans["POST /v1/events"].span_id),
        ("announce", spans["chain"].span_id),
        ("take", spans["announce"].span_id),
    }


def test_a_request_without_a_trace_begins_one_under_the_id_of_its_answer(producer: Producer, collector: Collector) -> None:
    trace_id = producer.post(LEAST, prefer="wait=30").headers["x-trace-id"]
    root = names(collector.wait(trace_id, 5))["POST /v1/events"]
    assert root.parent_id == ""
    assert root.attributes == {"http.request.method": "POST", "http.route": "/v1/events", "http.response.status_code": 201}


def test_who_says_not_to_sample_is_not_sampled(producer: Producer, collector: Collector) -> None:
    quiet = SpanContext("cd" * 16, CALLER.span_id, sampled=False)
    producer.store(traceparent=quiet.traceparent.decode())
    trace_id = producer.post(LEAST, prefer="wait=30").headers["x-trace-id"]
    collector.wait(trace_id, 4)  # the sink may take both at once, and is then below the first
    # What is stored does not hold the flag: the sinks can't know.
    assert {span.name for span in collector.trace(quiet.trace_id)} <= {"take"}


def test_queries_have_their_route_and_never_what_was_asked(producer: Producer, collector: Collector) -> None:
    headers = {"Authorization": f"Bearer {producer.workspace.key}"}
    answers = [
        producer.client.get(path, headers=headers)
        for path in ("/v1/events?actorEmail=jane.doe@example.org", "/v1/events/01234567-89ab-7def-8123-456789abcdef", "/jane.doe")
    ]
    spans = [collector.wait(answer.headers["x-trace-id"], 1)[0] for answer in answers]
    assert [(span.name, span.attributes["http.response.status_code"]) for span in spans] == [
        ("GET /v1/events", 200),
        ("GET /v1/events/{id}", 404),
        ("GET unmatched", 404),
    ]
    assert not any(b"jane.doe" in text for text in collector.texts)
