"""One trace from the request to whoever reads the event: in headers, in the stored event, and in spans where a collector is set."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from ops import tracing
from ops.kafka import ConsumerRecord, read_topic
from ops.local.environment import Role
from ops.local.process import wait_for
from ops.tracing import SpanContext
from schemas.announced import open_event
from schemas.topics import Region, events_topic, ingest_topic
from tests.support.collector import Collector, Told
from tests.support.posting import LEAST, Producer
from tests.support.stack import LocalStack

CALLER = SpanContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
SERVER, PRODUCER, CONSUMER = 2, 4, 5


@pytest.fixture(scope="module")
def collector(traced_stack: tuple[LocalStack, Collector]) -> Collector:
    return traced_stack[1]


@pytest.fixture
def producer(traced_stack: tuple[LocalStack, Collector]) -> Iterator[Producer]:
    with httpx.Client(base_url=traced_stack[0].base_url, verify=False) as client:
        yield Producer(traced_stack[0], client)


def records(stack: LocalStack, topic: str, workspace: str) -> list[ConsumerRecord]:
    async def read() -> list[ConsumerRecord]:
        found = read_topic(stack.settings(Role.STREAMS), Region.US, topic)
        return [record async for record in found if record.key == workspace.encode()]

    return asyncio.run(read())


def contexts(found: list[ConsumerRecord]) -> list[SpanContext | None]:
    return [tracing.of_record(record.headers) for record in found]


def names(spans: list[Told]) -> dict[str, Told]:
    return {span.name: span for span in spans}


def test_the_callers_trace_goes_from_http_over_kafka_into_the_event_and_on(stack: LocalStack) -> None:
    """Without a collector: the caller's own span is what both topics' records lead to."""
    with httpx.Client(base_url=stack.base_url, verify=False) as client:
        producer = Producer(stack, client)
        answer = producer.post(LEAST, prefer="wait=30", traceparent=CALLER.traceparent)
    workspace = str(producer.workspace.id)
    assert answer.headers["x-trace-id"] == answer.json()["traceId"] == CALLER.trace_id
    assert contexts(records(stack, ingest_topic(Region.US), workspace)) == [CALLER]
    (announced,) = records(stack, events_topic(Region.US), workspace)
    event = open_event(announced.value)
    assert contexts([announced]) == [CALLER._replace(span_id=event.id.replace("-", "")[16:])]
    assert event.trace_id == CALLER.trace_id


def test_what_is_announced_again_has_the_same_header(stack: LocalStack) -> None:
    """From Postgres, as after a crash between commit and announcement: byte for byte, so that readers may compare."""
    with httpx.Client(base_url=stack.base_url, verify=False) as client:
        producer = Producer(stack, client)
        producer.store(traceparent=CALLER.traceparent.decode())
        workspace = str(producer.workspace.id)
        stack.parts.stop("worker-1")
        _forget_announcements(stack)
        stack.parts.up(["worker-1"])
        producer.store()  # what is to be announced again goes first, but may still be on its way

    def announced() -> list[ConsumerRecord]:
        return [r for r in records(stack, events_topic(Region.US), workspace) if open_event(r.value).seq == 1]

    assert wait_for(lambda: len(announced()) > 1, 30)
    first, *others = announced()
    assert {(record.value, *record.headers) for record in others} == {(first.value, *first.headers)}


def _forget_announcements(stack: LocalStack) -> None:
    with psycopg.connect(stack.superuser_url()) as connection:
        connection.execute("UPDATE source SET announced = 0")


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
