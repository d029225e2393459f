"""The trace headers of records, on a stack that exports no spans."""

from __future__ import annotations

import asyncio

import httpx
import psycopg

from ops import tracing
from ops.kafka import ConsumerRecord, read_topic
from ops.local.environment import Role
from ops.local.process import wait_for
from ops.tracing import SpanContext
from schemas.announced import open_event
from schemas.topics import Region, events_topic, ingest_topic
from tests.support.posting import LEAST, Producer
from tests.support.stack import LocalStack

CALLER = SpanContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)


def records(stack: LocalStack, topic: str, workspace: str) -> list[ConsumerRecord]:
    async def read() -> list[ConsumerRecord]:
        found = read_topic(stack.settings(Role.STREAMS), Region.US, topic)
        return [record async for record in found if record.key == workspace.encode()]

    return asyncio.run(read())


def contexts(found: list[ConsumerRecord]) -> list[SpanContext | None]:
    return [tracing.of_record(record.headers) for record in found]


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
