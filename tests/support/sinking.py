"""Events announced by hand, and the search sink that takes them, in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from aiokafka.admin import RecordsToDelete
from prometheus_client import CollectorRegistry

from ops import kafka
from ops.clock import SystemClock
from ops.faults import FaultPoints
from ops.kafka import TopicPartition, partition_of
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.settings import Settings
from schemas.codec import encode_stored
from schemas.event import StoredEvent
from schemas.tokens import event_tokens
from schemas.topics import Region, events_topic
from sinks.consumer import GroupMember
from sinks.loop import Handle
from sinks.region import OpenStore, RegionSink
from sinks.search.handle import handle as search_handle
from sinks.search.store import SearchStore
from tests.support import chains
from tests.support.chains import Chain
from tests.support.managing import Database
from tests.support.stack import LocalStack

REGION = Region.US
PATIENCE = 30.0


class Topic:
    """A region's events topic, to write to as the chain worker does."""

    def __init__(self, stack: LocalStack, producer: Any, region: Region) -> None:
        self.settings = stack.settings(Role.RELAY)
        self._producer = producer
        self._region = region

    async def put(self, workspace: str, values: Sequence[bytes]) -> None:
        """Records of a workspace, in one batch."""
        batch = self._producer.create_batch()
        for value in values:
            assert batch.append(timestamp=None, key=workspace.encode(), value=value, headers=[]) is not None
        partition = partition_of(workspace, self.settings.topic_partitions)
        await (await self._producer.send_batch(batch, events_topic(self._region), partition=partition))

    async def announce(self, events: Sequence[StoredEvent]) -> None:
        """Events of one workspace."""
        for first in range(0, len(events), 500):
            await self.put(events[0].workspace_id, [encode_stored(event) for event in events[first : first + 500]])


async def forget_records(settings: Settings) -> None:
    """Take from the topic what is in it, as its retention does."""
    ends = {
        (record.topic, record.partition): record.offset + 1 async for record in kafka.read_topic(settings, REGION, events_topic(REGION))
    }
    async with kafka._admin(settings, REGION) as admin:
        await admin.delete_records({TopicPartition(*place): RecordsToDelete(before_offset=end) for place, end in ends.items()})


@asynccontextmanager
async def open_topic(stack: LocalStack, region: Region = REGION) -> AsyncIterator[Topic]:
    """A producer for the events topic."""
    producer = kafka.producer(stack.settings(Role.RELAY), region)
    await producer.start()
    try:
        yield Topic(stack, producer, region)
    finally:
        await producer.stop()


def new_chain(partition: int | None = None, partitions: int = 8, region: Region = REGION) -> Chain:
    """A workspace nobody knows, of a certain partition if told so."""
    while True:
        workspace = str(uuid4())
        if partition is None or partition_of(workspace, partitions) == partition:
            return Chain(str(uuid4()), workspace, region)


async def persist(database: Database, chain: Chain, events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Store events as the chain worker does before it announces them."""
    await chains.store(database, chain, events)
    return list(events)


@asynccontextmanager
async def sinking(
    settings: Settings, handle: Handle[Any] = search_handle, open_store: OpenStore[Any] = SearchStore
) -> AsyncIterator[Metrics]:
    """The search sink at work on the region."""
    metrics = Metrics(CollectorRegistry())
    sink = RegionSink("search", handle, open_store, settings, REGION, metrics=metrics, clock=SystemClock(), faults=FaultPoints(None))
    async with sink, GroupMember("search", settings, [sink]):
        yield metrics


def search_sink(settings: Settings, region: Region) -> RegionSink[Any]:
    """The search sink of a region, to be entered before the member of the group that reads for it."""
    metrics = Metrics(CollectorRegistry())
    return RegionSink(
        "search", search_handle, SearchStore, settings, region, metrics=metrics, clock=SystemClock(), faults=FaultPoints(None)
    )


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.05)


async def indexed(database: Database, chain: Chain) -> list[int]:
    """The seqs of a workspace that are in the search table, in order."""
    rows = await database.fetch("SELECT seq FROM search WHERE workspace_id = $1 ORDER BY seq", chain.workspace_id)
    return [row[0] for row in rows]


async def until_indexed(database: Database, chain: Chain) -> None:
    """Wait until the last event of the workspace is there."""

    async def is_there() -> bool:
        return (await indexed(database, chain))[-1:] == [chain.head.seq]

    await until(is_there)


async def assert_whole(database: Database, chain: Chain, events: Sequence[StoredEvent]) -> None:
    """Each of the events has its row, once, and there are no others."""
    query = "SELECT seq, company_id, occurred_at, received_at, id, tokens FROM search WHERE workspace_id = $1 ORDER BY seq"
    rows = await database.fetch(query, chain.workspace_id)
    found = [(row[0], str(row[1]), row[2], row[3], str(row[4]), row[5]) for row in rows]
    assert found == [(each.seq, each.company_id, each.timestamp, each.received_at, each.id, event_tokens(each)) for each in events]


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """A metric of the sink."""
    return metrics.registry.get_sample_value(name, {"sink": "search", "region": REGION.value} | labels) or 0.0
