"""Long polls against a real broker: a record ends them at once, a seek too, and nothing else waits behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ops import kafka
from ops.kafka import AIOKafkaProducer
from ops.local.environment import Role
from ops.long_poll import LongPoll
from ops.settings import Settings
from schemas.topics import Region, rejected_topic
from tests.support.stack import LocalStack

REGION = Region.AU
PARTITION = TopicPartition(rejected_topic(REGION), 0)
SHORTEST_MS, LONGEST_MS = 10, 9_000
SOON = 3.0
"""Seconds; well below the longest wait."""
PATIENCE = 30.0


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.STREAMS)


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    made = kafka.producer(settings, REGION)
    await made.start()
    yield made
    await made.stop()


class Reader:
    """A consumer of one partition, at its end."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self.consumer = consumer
        self.polling = LongPoll(consumer, longest_ms=LONGEST_MS)

    async def start(self) -> None:
        await self.consumer.start()
        self.consumer.assign([PARTITION])
        await self.consumer.seek_to_end(PARTITION)

    async def until_it_waits_long(self) -> None:
        """A fetch is under way that would wait for the longest time."""
        async with asyncio.timeout(PATIENCE):
            while not self.polling._waiting:
                await asyncio.sleep(0.01)
        now = asyncio.get_running_loop().time()
        for node in self.polling._active_at:
            self.polling._active_at[node] = now - LONGEST_MS
        self.polling.interrupt()
        async with asyncio.timeout(PATIENCE):
            while not any(not interrupted.done() for interrupted in self.polling._waiting):
                await asyncio.sleep(0.01)

    async def values(self, count: int) -> list[bytes]:
        """The next records' values. Raises ``TimeoutError`` when they don't come soon."""
        found: list[bytes] = []
        async with asyncio.timeout(SOON):
            while len(found) < count:
                records = await self.consumer.getmany(PARTITION, timeout_ms=1000)
                found += [record.value for record in records.get(PARTITION, ())]
        return found


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[Reader]:
    made = Reader(
        AIOKafkaConsumer(
            **kafka.connection(settings, REGION),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=1 << 20,
            fetch_max_wait_ms=SHORTEST_MS,
            consumer_timeout_ms=1000 * PATIENCE,
        )
    )
    await made.start()
    yield made
    await made.consumer.stop()


async def test_the_record_that_ends_a_long_silence_comes_at_once(reader: Reader, producer: AIOKafkaProducer) -> None:
    await reader.until_it_waits_long()
    await producer.send_and_wait(PARTITION.topic, b"at last", partition=PARTITION.partition)
    assert await reader.values(1) == [b"at last"]


async def test_a_partition_that_is_sought_does_not_wait_for_the_fetch_under_way(reader: Reader, producer: AIOKafkaProducer) -> None:
    """A worker sent back to its stored position would else stand still for as long as nothing comes."""
    sent = await producer.send_and_wait(PARTITION.topic, b"again", partition=PARTITION.partition)
    assert await reader.values(1) == [b"again"]
    await reader.until_it_waits_long()
    reader.consumer.seek(PARTITION, sent.offset)
    reader.polling.interrupt()
    assert await reader.values(1) == [b"again"]


async def test_new_partitions_do_not_wait_for_the_fetch_under_way(reader: Reader, producer: AIOKafkaProducer) -> None:
    sent = await producer.send_and_wait(PARTITION.topic, b"assigned", partition=PARTITION.partition)
    assert await reader.values(1) == [b"assigned"]
    await reader.until_it_waits_long()
    reader.consumer.assign([PARTITION])
    reader.consumer.seek(PARTITION, sent.offset)
    assert await reader.values(1) == [b"assigned"]


async def test_other_requests_do_not_wait_for_the_fetch_under_way(reader: Reader) -> None:
    """The broker answers a connection's requests in turn."""
    await reader.until_it_waits_long()
    async with asyncio.timeout(SOON):
        ends: dict[Any, int] = await reader.consumer.end_offsets([PARTITION])
    assert PARTITION in ends


async def test_the_consumer_stops_in_the_middle_of_a_long_wait(reader: Reader) -> None:
    await reader.until_it_waits_long()
    began = time.monotonic()
    await reader.consumer.stop()
    assert time.monotonic() - began < SOON
