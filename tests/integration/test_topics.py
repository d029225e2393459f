"""The topics as they are made, on real Kafka."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from ops import kafka
from ops.local.environment import Role
from ops.settings import Settings
from schemas.topics import Region, ingest_topic
from tests.support.stack import LocalStack

_REGION = Region.UK
_WEEK_AGO = 7 * 24 * 3600 * 1000


@pytest.fixture
async def settings(servers: LocalStack) -> AsyncIterator[Settings]:
    """Of a region whose topics are not there; afterwards they are made again."""
    settings = servers.settings(Role.OWNER).model_copy(update={"regions": (_REGION,)})
    await kafka.delete_topics(settings, _REGION)
    yield settings
    await kafka.ensure_topics(settings)


async def test_what_the_brokers_refuse_is_named(settings: Settings) -> None:
    """aiokafka raises nothing: the next to notice would be whoever waits for the topic."""
    with pytest.raises(kafka.TopicRefused, match=r"hyrelog\.uk\.ingest: InvalidReplicationFactorError"):
        await kafka.ensure_topics(settings.model_copy(update={"topic_replication": 3}))


async def test_topics_that_are_there_are_no_refusal(settings: Settings) -> None:
    await kafka.ensure_topics(settings)
    await kafka.ensure_topics(settings)


async def test_records_are_kept_by_the_brokers_clock(settings: Settings) -> None:
    """By the producer's, a host whose clock is behind by the retention loses what it was told is stored."""
    await kafka.ensure_topics(settings)
    async with AIOKafkaProducer(**kafka.connection(settings, _REGION)) as producer:
        now = int(time.time() * 1000)
        told = await producer.send_and_wait(ingest_topic(_REGION), b"", timestamp_ms=now - _WEEK_AGO)
    assert abs(told.timestamp - now) < 60_000
