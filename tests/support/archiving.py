"""Archive parts made without the scheduler: rows as marking writes them, and the sink's writer on the real stores."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from itertools import groupby
from typing import TypeAlias
from uuid import UUID

import asyncpg
from prometheus_client import CollectorRegistry

from ops.archive.data_keys import DataKeys
from ops.archive.parts import PART_COLUMNS, Part, to_part
from ops.archive.reader import PartReader
from ops.clock import Clock, SystemClock
from ops.db import Pool, open_pool
from ops.faults import FaultPoints
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.objects import ObjectStore
from ops.sealing import Sealer
from ops.settings import Settings
from schemas import ids
from schemas.event import StoredEvent
from schemas.retention import DAY_MICROS
from schemas.topics import Region
from sinks.archive.gauge import ArchiveMetrics
from sinks.archive.store import ArchiveStore
from sinks.archive.writer import Writer
from tests.support.chains import BASE_TIME
from tests.support.stack import LocalStack

DAY = date(2026, 1, 1)
PARTITION = 999
"""Of chains that are to be purged: no worker has it, and no other test."""
Superuser: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def event_id(received_at: int) -> str:
    """An id as ingest makes it."""
    return ids.uuid7(received_at, os.urandom(ids.RANDOM_BYTES))


async def mark(
    superuser: Superuser,
    events: Sequence[StoredEvent],
    *,
    day: date = DAY,
    part: int = 1,
    cold_after_days: int | None = None,
    archive_until: int = BASE_TIME + 365 * DAY_MICROS,
) -> str:
    """One part of these events, which are one run of each of their workspaces. Returns its id."""
    part_id = event_id(BASE_TIME)
    await superuser.execute(
        "INSERT INTO archive_part (id, company_id, archive_day, part, row_count, archive_until, cold_after_days, marked_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *(part_id, events[0].company_id, day, part, len(events), archive_until, cold_after_days, BASE_TIME),
    )
    for workspace_id, run in groupby(sorted(events, key=lambda event: (event.workspace_id, event.seq)), lambda event: event.workspace_id):
        several = list(run)
        first, last = several[0], several[-1]
        await superuser.execute(
            "INSERT INTO archive_range (workspace_id, from_seq, to_seq, company_id, part_id, archive_day, first_prev_hash, first_hash, "
            "last_hash, hot_until, marked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
            *(workspace_id, first.seq, last.seq, first.company_id, part_id, day, first.prev_hash, first.hash, last.hash, BASE_TIME),
        )
    return part_id


class Archive:
    """The archive of the US region, in the roles of those who write and read it."""

    def __init__(self, settings: Settings, pool: Pool, superuser: Superuser) -> None:
        self.settings = settings
        self.objects = ObjectStore.of(settings, Region.US)
        self.data_keys = DataKeys(Sealer.of_archive(settings))
        self.store = ArchiveStore(Region.US, pool, self.data_keys)
        self.metrics = Metrics(CollectorRegistry())
        self._superuser = superuser

    def writer(self, *, clock: Clock | None = None, faults: FaultPoints | None = None, settings: Settings | None = None) -> Writer:
        """The sink's."""
        return Writer(
            settings or self.settings,
            self.store,
            self.objects,
            clock=clock or SystemClock(),
            metrics=ArchiveMetrics(self.metrics, Region.US),
            faults=faults or FaultPoints(None),
        )

    async def part(self, part_id: str) -> Part:
        """A part that is archived."""
        row = await self._superuser.fetchrow(f"SELECT {PART_COLUMNS} FROM archive_part WHERE id = $1", UUID(part_id))
        assert row is not None
        return to_part(row)

    async def reader(self, part: Part) -> PartReader:
        """Of a part."""
        return PartReader(self.objects, part, await self.data_keys.get(self._superuser, part.company_id))

    def count(self, metric: str, **labels: str) -> float:
        """What a metric of the sink counted."""
        return self.metrics.registry.get_sample_value(metric, {"region": "US", **labels}) or 0.0


@asynccontextmanager
async def archive_of(servers: LocalStack, superuser: Superuser) -> AsyncIterator[Archive]:
    """The archive on the stack's own servers."""
    settings = servers.settings(Role.ARCHIVER)
    pool = await open_pool(settings.database_url(Region.US), application_name="test-archive", region=Region.US, max_size=2)
    async with pool:
        yield Archive(settings, pool, superuser)


async def purge(superuser: Superuser, events: Sequence[StoredEvent]) -> None:
    """Remove the events of marked and archived ranges from the hot table, as the database does it for the purge job."""
    async with superuser.transaction():
        await _purge(superuser, events)
        await superuser.execute("DELETE FROM source WHERE partition = $1", PARTITION)


async def _purge(superuser: Superuser, events: Sequence[StoredEvent]) -> None:
    await superuser.execute(
        "INSERT INTO source (topic, partition, topic_id, next_offset, announced) "
        "VALUES ('hyrelog.us.ingest', $1, gen_random_uuid(), $2, $2)",
        *(PARTITION, 2**62),
    )
    await superuser.execute("UPDATE archive_part SET verified_at = archived_at WHERE company_id = $1", UUID(events[0].company_id))
    for workspace_id in {event.workspace_id for event in events}:
        last = max(event.seq for event in events if event.workspace_id == workspace_id)
        await superuser.execute(
            "INSERT INTO search SELECT workspace_id, seq, company_id, occurred_at, received_at, id, '{}' FROM events "
            "WHERE workspace_id = $1 AND seq = $2 ON CONFLICT DO NOTHING",
            *(workspace_id, last),
        )
        firsts = await superuser.fetch(
            "UPDATE archive_range SET tiled_at = marked_at, purging_at = marked_at WHERE workspace_id = $1 AND to_seq <= $2 "
            "AND purged_at IS NULL RETURNING from_seq",
            *(workspace_id, last),
        )
        for first in sorted(int(row[0]) for row in firsts):
            assert await superuser.fetchval("SELECT removed FROM purge_events($1, $2, 1000000)", workspace_id, first) > 0
