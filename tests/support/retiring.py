"""Workspaces whose events are on their way out, without the pipeline, the scheduler and the archive sink: rows as these write them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
from prometheus_client import CollectorRegistry

from ops.clock import SystemClock
from ops.db import Pool, open_pool, use_micros
from ops.faults import FaultPoints
from ops.jobs.work import Work
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.objects import Lock, ObjectStore
from ops.tiles import Tree, read_tiles
from schemas.archive import COLD_TAG, events_key, keys_key
from schemas.event import StoredEvent
from schemas.retention import DAY_MICROS
from schemas.topics import Region
from tests.support.chains import BASE_TIME, Chain, store
from tests.support.managing import Told, told
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
REGION = Region.AU
"""One whose database no other test fills: a job works on all of it."""
DAY = date(2026, 1, 1)
HOT_UNTIL = BASE_TIME + 90 * DAY_MICROS
ARCHIVE_UNTIL = BASE_TIME + 365 * DAY_MICROS
EMPTY = (
    "TRUNCATE restore_request, archive_range, archive_part, chain_floor, chain_head, events, event_key, event_alias, search, search_dead, "
    "webhook_head, source, audit_outbox"
)


class Killed(BaseException):
    """What a job dies of at a fault point, in a process that has to live on."""


class Kill(FaultPoints):
    """Dies at the nth passing of a place."""

    def __init__(self, name: str, hits: int = 1) -> None:
        super().__init__(None)
        self._name = name
        self._left = hits

    def hit(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if not self._left:
                raise Killed(name)


class At(SystemClock):
    """It is that time."""

    def __init__(self, micros: int) -> None:
        self._micros = micros

    def micros(self) -> int:
        return self._micros


@dataclass
class Retiring:
    """A company's workspaces, and what the jobs are given."""

    servers: LocalStack
    superuser: Database
    pool: Pool
    objects: ObjectStore
    company_id: str
    workspaces: tuple[str, ...]
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    def work(self, at: int, *, faults: FaultPoints | None = None, **settings: Any) -> Work:
        """One run of a job at that time."""
        return Work(
            settings=self.servers.settings(Role.SCHEDULER).model_copy(update={"purge_share": 1.0, **settings}),
            region=REGION,
            pool=self.pool,
            objects=self.objects,
            clock=At(at),
            metrics=self.metrics,
            faults=faults or FaultPoints(None),
            run_id=str(uuid4()),
            beat=_beat,
        )

    async def chain(self, number: int, count: int) -> tuple[Chain, list[StoredEvent]]:
        """A workspace with so many events, each found by its key, an alias and in search."""
        chain = Chain(self.company_id, self.workspaces[number], REGION)
        events = chain.events(count)
        await store(self.superuser, chain, events)
        await self.superuser.execute(
            "INSERT INTO source (topic, partition, topic_id, next_offset, announced) VALUES ($1, 0, gen_random_uuid(), $2, $2) "
            "ON CONFLICT DO NOTHING",
            *(f"hyrelog.{REGION.lower()}.ingest", 2**62),
        )
        where = "FROM events WHERE workspace_id = $1"
        for statement in (
            f"INSERT INTO search SELECT workspace_id, seq, company_id, occurred_at, received_at, id, '{{}}' {where}",
            f"INSERT INTO event_key SELECT workspace_id, 'key-' || seq, company_id, seq, id, '' {where}",
            f"INSERT INTO event_alias SELECT gen_random_uuid(), company_id, workspace_id, seq, id, 0, 0, 0, received_at {where}",
        ):
            await self.superuser.execute(statement, UUID(chain.workspace_id))
        return chain, events

    async def mark(
        self, events: list[StoredEvent], *ends: int, part: str | None = None, hot_until: int = HOT_UNTIL, since: int = 1
    ) -> None:
        """Ranges of a workspace's events from seq ``since`` on, that end at these seqs; ``part`` is where all of them are archived."""
        for first, last in zip((since, *(end + 1 for end in ends)), ends, strict=False):
            begin, end = events[first - 1], events[last - 1]
            await self.superuser.execute(
                "INSERT INTO archive_range (workspace_id, from_seq, to_seq, company_id, part_id, archive_day, first_prev_hash, first_hash, "
                "last_hash, hot_until, marked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                *(begin.workspace_id, first, last, self.company_id, part, DAY),
                *(begin.prev_hash, begin.hash, end.hash, hot_until, BASE_TIME),
            )

    async def part(self, number: int = 1, *, verified: bool = True, lock: Lock | None = None, archived: bool = True, **columns: Any) -> str:
        """A part whose objects are there, though no archive's. ``columns`` are its row's."""
        part_id, key = str(uuid4()), events_key(self.company_id, DAY, number)
        body = b"events of " + key.encode()
        row: dict[str, Any] = {"id": part_id, "company_id": self.company_id, "archive_day": DAY, "part": number, "row_count": 1}
        row |= {"archive_until": ARCHIVE_UNTIL, "marked_at": BASE_TIME}
        if archived:
            days = columns.get("cold_after_days")
            self.objects.put_new(key, body, tags={COLD_TAG: str(days)} if days else {}, lock=lock)
            self.objects.put_new(keys_key(self.company_id, DAY, number), b"salts")
            row |= {"archived_at": BASE_TIME, "key": key, "sha256": sha256(body).digest(), "content_sha256": bytes(32), "blocks": b""}
            row |= {"size": len(body), "keys_size": 5} | dict.fromkeys(("occurred_from", "occurred_to"), BASE_TIME)
            row |= dict.fromkeys(("received_from", "received_to"), BASE_TIME) | {"verified_at": BASE_TIME if verified else None}
        row |= columns
        places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
        await self.superuser.execute(f"INSERT INTO archive_part ({', '.join(row)}) VALUES ({places})", *row.values())
        return part_id

    async def run(self, sql: str, *arguments: object) -> None:
        """Change something that has to be there."""
        status = await self.superuser.execute(sql, *arguments)
        assert not status.endswith(" 0"), f"nothing was changed by {sql}"

    async def left(self, workspace: str, table: str = "events") -> list[int]:
        """The seqs that are still in a table."""
        rows = await self.superuser.fetch(f"SELECT seq FROM {table} WHERE workspace_id = $1 ORDER BY seq", UUID(workspace))
        return [row["seq"] for row in rows]

    async def row(self, sql: str, *arguments: object) -> Mapping[str, Any]:
        """The one row."""
        (found,) = await self.superuser.fetch(sql, *arguments)
        return dict(found)

    async def floor(self, workspace: str) -> tuple[int, bytes] | None:
        """Up to where a workspace is purged."""
        rows = await self.superuser.fetch("SELECT seq, hash FROM chain_floor WHERE workspace_id = $1", UUID(workspace))
        return (rows[0]["seq"], rows[0]["hash"]) if rows else None

    def tree(self, workspace: str) -> Tree:
        return Tree(self.objects, self.company_id, workspace)

    def tiles(self, workspace: str, first: int, last: int) -> list[bytes]:
        """Hashes out of a workspace's tiles."""
        joined = b"".join(read_tiles(self.tree(workspace), first, last))
        return [joined[at : at + 32] for at in range(0, len(joined), 32)]

    async def entries(self) -> list[Told]:
        """What the company's audit was told, in order."""
        return await told(self.superuser, UUID(self.company_id))


async def _beat() -> None:
    """The lease holds."""


@asynccontextmanager
async def retiring(servers: LocalStack) -> AsyncIterator[Retiring]:
    """A new company, in a region where nothing else is on its way out."""
    tenant = servers.tenant(REGION, workspaces=2)
    settings = servers.settings(Role.SCHEDULER)
    superuser = await asyncpg.connect(servers.superuser_url(REGION))
    await use_micros(superuser)
    pool = await open_pool(settings.database_url(REGION), application_name="test-jobs", region=REGION, max_size=2)
    try:
        await _empty(superuser)
        workspaces = tuple(str(workspace.id) for workspace in tenant.workspaces)
        yield Retiring(servers, superuser, pool, ObjectStore.of(settings, REGION), str(tenant.id), workspaces)
        await _empty(superuser)
    finally:
        await pool.close()
        await superuser.close()


async def _empty(superuser: Database) -> None:
    """As no worker of this region would have it: what tests of the topic compare with is not to be these chains."""
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(EMPTY)
