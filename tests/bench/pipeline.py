"""How far events have come, told by where they end up: the ingest log, Postgres and the events topic. Nobody's counters are believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg

from ops.kafka import Bounds, LogView
from ops.settings import Settings
from schemas.topics import Region, events_topic, ingest_topic

REGION = Region.US
DRAIN_SECONDS = 120.0
_POLL_SECONDS = 0.05
_READ = """
SELECT (SELECT coalesce(sum(next_offset), 0) FROM source WHERE topic = $1)::bigint,
       (SELECT coalesce(sum(seq), 0) FROM chain_head)::bigint
"""


class Counts(NamedTuple):
    """``received`` and ``taken`` count envelopes, ``persisted`` and ``announced`` events; ``at`` is the monotonic clock's time."""

    at: float
    received: int
    taken: int
    persisted: int
    announced: int

    @property
    def is_drained(self) -> bool:
        """Whether all that was accepted is persisted and announced."""
        return self.received == self.taken and self.persisted == self.announced


class NotDrained(Exception):
    """The worker has not caught up in time."""


class Pipeline:
    """Looks at one region's pipeline from outside."""

    def __init__(self, settings: Settings, view: LogView, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._partitions = range(settings.topic_partitions)
        self._view = view
        self._connection = connection

    async def counts(self) -> Counts:
        """Where things stand now."""
        row = await self._connection.fetchrow(_READ, ingest_topic(REGION))
        assert row is not None
        received = await self._view.bounds(ingest_topic(REGION), self._partitions)
        announced = await self._view.bounds(events_topic(REGION), self._partitions)
        return Counts(time.monotonic(), _ends(received), row[0], row[1], _ends(announced))

    async def drained(self) -> Counts:
        """Wait until nothing is under way. Raises ``NotDrained``."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while not (counts := await self.counts()).is_drained:
            if counts.at > deadline:
                raise NotDrained(f"still under way after {DRAIN_SECONDS:.0f} s: {counts}")
            await asyncio.sleep(_POLL_SECONDS)
        return counts


def _ends(bounds: Mapping[int, Bounds]) -> int:
    return sum(each.end for each in bounds.values())


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Pipeline]:
    """An observer, in the role of the settings."""
    connection = await asyncpg.connect(settings.database_url(REGION))
    view = LogView(settings, REGION)
    await view.start()
    try:
        yield Pipeline(settings, view, connection)
    finally:
        await view.stop()
        await connection.close()
