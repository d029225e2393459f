"""How far the regions have come: what is persisted, announced, still in the log, and still in the audit outbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from ops import kafka
from ops.db import use_micros
from ops.local.environment import Role
from schemas.topics import Region, events_topic, ingest_topic

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster

DRAIN_SECONDS = 60.0
"""Within this time after the last fault and the last request all is persisted and announced, or the run has failed."""
_SOURCES = """
SELECT partition, next_offset - offset_base AS reached, announced - offset_base AS announced, parked_reason
FROM source WHERE topic = $1
"""

Starts = Mapping[tuple[Region, int], int]
"""Where a run begins on the events topics: offsets by region and partition."""


@asynccontextmanager
async def superuser(cluster: Cluster, region: Region) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection that may read everything; times are microseconds."""
    connection = await asyncpg.connect(cluster.superuser_url(region), timeout=10)
    try:
        await use_micros(connection)
        yield connection
    finally:
        await connection.close()


async def standing(cluster: Cluster, region: Region) -> dict[int, asyncpg.Record]:
    """The region's ``source`` rows: reached and announced as Kafka offsets."""
    async with superuser(cluster, region) as connection:
        return {row["partition"]: row for row in await connection.fetch(_SOURCES, ingest_topic(region))}


async def topic_ends(cluster: Cluster, region: Region, topic: str) -> dict[int, int]:
    """Where the logs of a topic's partitions end."""
    settings = cluster.settings(Role.STREAMS)
    view = kafka.LogView(settings, region)
    await view.start()
    try:
        bounds = await view.bounds(topic, range(settings.topic_partitions))
    finally:
        await view.stop()
    return {partition: each.end for partition, each in bounds.items()}


async def starts(cluster: Cluster, regions: Iterable[Region]) -> dict[tuple[Region, int], int]:
    """Where the events topics end now: where a new run begins."""
    return {
        (region, partition): end
        for region in regions
        for partition, end in (await topic_ends(cluster, region, events_topic(region))).items()
    }


async def unfinished(cluster: Cluster, region: Region) -> list[str]:
    """What keeps the region from being drained; empty when all of it is relayed, persisted and announced."""
    async with superuser(cluster, region) as connection:
        entries = await connection.fetchval("SELECT count(*) FROM audit_outbox")
    found = [f"{region}: {entries} audit entries are not relayed"] if entries else []
    ends = await topic_ends(cluster, region, ingest_topic(region))
    rows = await standing(cluster, region)
    for partition, end in ends.items():
        row = rows.get(partition)
        reached, announced = (row["reached"], row["announced"]) if row else (0, 0)
        if (reached, announced) != (end, end):
            reason = f", parked: {row['parked_reason']}" if row and row["parked_reason"] else ""
            found.append(f"{region} partition {partition}: log ends at {end}, persisted to {reached}, announced to {announced}{reason}")
    return found


async def drained(cluster: Cluster, regions: Iterable[Region], seconds: float = DRAIN_SECONDS) -> tuple[float, list[str]]:
    """Wait until nothing is unfinished. Returns the seconds it took, and what is still unfinished when time is over."""
    began = time.monotonic()
    while True:
        missing = [each for region in regions for each in await unfinished(cluster, region)]
        took = time.monotonic() - began
        if not missing or took > seconds:
            return took, missing
        await asyncio.sleep(0.2)
