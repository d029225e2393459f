"""Envelopes put onto the ingest topic by hand: what no well-behaved ingest would send, or not at that moment."""

from __future__ import annotations

from collections.abc import Sequence

from ops import kafka
from ops.kafka import partition_of
from ops.local.environment import Role
from schemas.topics import Region, ingest_topic
from tests.support.stack import LocalStack


async def publish(stack: LocalStack, workspace: str, values: Sequence[bytes]) -> None:
    """As one batch, so that they are fetched together."""
    settings = stack.settings(Role.RELAY)
    producer = kafka.producer(settings, Region.US)
    await producer.start()
    try:
        batch = producer.create_batch()
        for value in values:
            batch.append(timestamp=None, key=workspace.encode(), value=value, headers=[("traceparent", b"x")])
        partition = partition_of(workspace, settings.topic_partitions)
        await (await producer.send_batch(batch, ingest_topic(Region.US), partition=partition))
    finally:
        await producer.stop()
