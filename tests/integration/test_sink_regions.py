"""One member of a consumer group reads for several regions: they share connections, and nobody waits for somebody else's database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from ops.db import use_micros
from ops.kafka import TopicPartition
from ops.local.environment import Role
from ops.local.ports import pick
from ops.long_poll import LONGEST_MS
from ops.settings import Settings
from schemas.topics import Region
from sinks.consumer import GroupMember
from sinks.region import RegionSink
from tests.support.chains import Chain
from tests.support.managing import Database
from tests.support.sinking import Topic, assert_whole, new_chain, open_topic, persist, search_sink, until, until_indexed
from tests.support.stack import LocalStack

REGIONS = (Region.US, Region.EU)
LONG_WAIT_SECONDS = LONGEST_MS / 1000


@dataclass(frozen=True)
class Place:
    """A region's database and events topic."""

    region: Region
    database: Database
    topic: Topic

    async def announce(self, chain: Chain, count: int) -> None:
        """The workspace's next events."""
        await self.topic.announce(await persist(self.database, chain, chain.events(count)))


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.SEARCH)


@pytest.fixture
async def places(servers: LocalStack) -> AsyncIterator[Mapping[Region, Place]]:
    async with AsyncExitStack() as exits:
        yield {region: await exits.enter_async_context(_place(servers, region)) for region in REGIONS}


@asynccontextmanager
async def _place(servers: LocalStack, region: Region) -> AsyncIterator[Place]:
    connection = await asyncpg.connect(servers.superuser_url(region))
    try:
        await use_micros(connection)
        async with open_topic(servers, region) as topic:
            yield Place(region, connection, topic)
    finally:
        await connection.close()


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[tuple[GroupMember, Mapping[Region, RegionSink[Any]]]]:
    """The search sink of both regions, and their member."""
    sinks = {region: search_sink(settings, region) for region in REGIONS}
    async with AsyncExitStack() as exits:
        for sink in sinks.values():
            await exits.enter_async_context(sink)
        yield await exits.enter_async_context(GroupMember("search", settings, [*sinks.values()])), sinks


async def test_one_member_takes_each_regions_events_into_its_own_database(settings: Settings, places: Mapping[Region, Place]) -> None:
    made = []
    async with reading(settings):
        for place in places.values():
            chain = new_chain(region=place.region)
            events = await persist(place.database, chain, chain.events(100))
            await place.topic.announce(events)
            made.append((place, chain, events))
        for place, chain, events in made:
            await until_indexed(place.database, chain)
            await assert_whole(place.database, chain, events)


async def test_a_region_whose_postgres_is_away_holds_up_no_other(settings: Settings, places: Mapping[Region, Place]) -> None:
    """Its records are fetched by the same fetches, lie unread, and must not be waited for."""
    away = f"postgresql://nobody:nothing@127.0.0.1:{pick()}/nowhere"
    broken = settings.model_copy(update={"database_url_eu": SecretStr(away)})
    eu, us = places[Region.EU], places[Region.US]
    waiting, served = new_chain(region=Region.EU), new_chain(region=Region.US)
    async with reading(broken) as (_member, sinks):
        await eu.announce(waiting, 100)
        await until(lambda: _is_in_trouble(sinks[Region.EU]))
        for _ in range(20):
            async with asyncio.timeout(LONG_WAIT_SECONDS):
                await us.announce(served, 5)
                await until_indexed(us.database, served)
        await until(lambda: _is_ready(sinks[Region.US]))
        assert await _is_in_trouble(sinks[Region.EU])
    async with reading(settings):
        await until_indexed(eu.database, waiting)


async def test_the_record_that_ends_a_silence_is_taken_at_once(settings: Settings, places: Mapping[Region, Place]) -> None:
    """However long the fetches wait by then: the broker answers at the first record, and not when many have come."""
    async with reading(settings) as (member, _sinks):
        for place in places.values():
            chain = new_chain(region=place.region)
            await _wait_long(member)
            async with asyncio.timeout(LONG_WAIT_SECONDS / 2):
                await place.announce(chain, 1)
                await until_indexed(place.database, chain)


async def test_a_partition_that_begins_anew_during_a_long_wait_is_read_at_once(settings: Settings, places: Mapping[Region, Place]) -> None:
    """Its fetch would else be sent when the one under way is answered, which waits for the other partitions' records."""
    async with reading(settings) as (member, sinks):
        sink, chain = sinks[Region.US], new_chain(3)
        await _wait_long(member)
        member._reader._consumer.pause(TopicPartition(sink.topic, 3))
        await _wait_long(member)  # without the partition
        await places[Region.US].announce(chain, 1)
        async with asyncio.timeout(LONG_WAIT_SECONDS / 2):
            sink.stop([3])
            sink.start(3)
            await until_indexed(places[Region.US].database, chain)


async def _is_in_trouble(sink: RegionSink[Any]) -> bool:
    return any(loop.trouble for loop in sink._loops.values())


async def _is_ready(sink: RegionSink[Any]) -> bool:
    await sink.check()
    return len(sink._loops) > 0


async def _wait_long(member: GroupMember) -> None:
    """Return when a new fetch is under way that waits for the longest time."""
    await until(lambda: _waits(member, set()))
    polling, now = member._reader._polling, asyncio.get_running_loop().time()
    for node in polling._active_at:
        polling._active_at[node] = now - LONGEST_MS
    before = set(polling._waiting)
    polling.interrupt()
    await until(lambda: _waits(member, before))


async def _waits(member: GroupMember, before: set[asyncio.Future[None]]) -> bool:
    return hasattr(member, "_reader") and bool(member._reader._polling._waiting - before)
