"""The publisher on real Kafka: what was acknowledged is there, in order, also when the broker dies in between."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from hashlib import sha256
from signal import SIGKILL

import pytest

from ops import kafka
from ops.kafka import KafkaError
from ops.local.environment import Role
from ops.publish import AckTimeout, Publisher, Pushback, Record
from ops.settings import Settings
from schemas.topics import Region, ingest_topic
from tests.support.stack import LocalStack

REGION = Region.AU
TOPIC = ingest_topic(REGION)
ACK_TIMEOUT = 5.0
PATIENCE = 60.0


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.INGEST)


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    made = Publisher(lambda: kafka.producer(settings, REGION), max_unacked_bytes=64 << 20, ack_timeout=ACK_TIMEOUT)
    await made.start()
    await connected(made)
    yield made
    await made.stop()


async def connected(publisher: Publisher) -> None:
    async with asyncio.timeout(PATIENCE):
        while not publisher.connected:
            await asyncio.sleep(0.02)


async def read(settings: Settings, marker: bytes) -> dict[int, list[bytes]]:
    """The values with that marker, by partition, in the log's order."""
    found: dict[int, list[bytes]] = defaultdict(list)
    async for record in kafka.read_topic(settings, REGION, TOPIC):
        if record.key == marker:
            found[record.partition].append(record.value)
    return found


async def test_everything_arrives_once_and_in_order(settings: Settings, publisher: Publisher) -> None:
    marker = os.urandom(8)
    futures = []
    for number in range(2000):
        futures.append(publisher.submit(TOPIC, number % 4, [Record(marker, b"%d" % number, [("traceparent", b"x")])]))
        if number % 100 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*futures)
    assert await read(settings, marker) == {partition: [b"%d" % number for number in range(partition, 2000, 4)] for partition in range(4)}
    assert publisher.unacked_bytes == 0


async def fate(publisher: Publisher, record: Record) -> Exception | None:
    """``None`` when it was acknowledged. A value this large must not get into an assertion's report."""
    try:
        await publisher.publish(TOPIC, 0, [record])
    except (Pushback, AckTimeout, KafkaError) as error:
        return error
    return None


async def test_a_record_of_15_mib_arrives_and_one_of_17_is_its_own_fault(settings: Settings, publisher: Publisher) -> None:
    marker = os.urandom(8)
    large = os.urandom(15 << 20)
    assert await fate(publisher, Record(marker, large, [])) is None
    assert isinstance(await fate(publisher, Record(marker, bytes(17 << 20), [])), KafkaError)
    assert await fate(publisher, Record(marker, b"after", [])) is None
    (log,) = (await read(settings, marker)).values()
    assert [sha256(value).digest() for value in log] == [sha256(value).digest() for value in (large, b"after")]


async def test_a_broker_that_dies_loses_nothing_that_was_acknowledged(
    servers: LocalStack, settings: Settings, publisher: Publisher
) -> None:
    """Callers are told in time meanwhile, and the publisher recovers by itself."""
    marker = os.urandom(8)
    acknowledged: list[bytes] = []
    longest = await publish_through_a_crash(servers, publisher, marker, acknowledged)
    (log,) = (await read(settings, marker)).values()
    first_seen = list(dict.fromkeys(log))
    assert [value for value in first_seen if value in set(acknowledged)] == acknowledged
    assert longest < ACK_TIMEOUT + 2


async def publish_through_a_crash(servers: LocalStack, publisher: Publisher, marker: bytes, acknowledged: list[bytes]) -> float:
    """One record after another, a kill -9 of the broker after 50 that lasts until one is refused, until 50 more are acknowledged.

    Returns the longest wait in seconds.
    """
    clock = asyncio.get_running_loop().time
    longest, number = 0.0, 0
    killed = False
    restart: asyncio.Task[None] | None = None
    async with asyncio.timeout(PATIENCE):
        while len(acknowledged) < 100:
            if len(acknowledged) == 50 and not killed:
                servers.parts.kill("kafka", SIGKILL)
                killed = True
            number += 1
            value, began = b"%d" % number, clock()
            if await fate(publisher, Record(marker, value, [])) is None:
                acknowledged.append(value)
            else:
                restart = restart or asyncio.create_task(asyncio.to_thread(start_kafka, servers))
                await asyncio.sleep(0.01)
            longest = max(longest, clock() - began)
    assert restart is not None
    await restart
    return longest


def start_kafka(servers: LocalStack) -> None:
    servers.parts.start("kafka")
    servers.parts.wait_ready("kafka")
