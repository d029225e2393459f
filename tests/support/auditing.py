"""Chains in a database that lets everything through, and the auditor to look at them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias
from uuid import UUID

import asyncpg

from ops.local.environment import Role
from ops.verify.command import walk_postgres
from ops.verify.report import Report
from schemas.event import StoredEvent
from schemas.topics import Region
from tests.support.chains import BASE_TIME, COLUMNS, Chain, rows, store
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Found = list[tuple[str, int, str]]
LENGTH = 6
DAY = date(2026, 1, 1)
EMPTY = "TRUNCATE events, chain_head, chain_floor, restore_request, archive_range, archive_part, source"


@dataclass
class Case:
    """Two chains in a database that lets everything through, and the auditor."""

    servers: LocalStack
    superuser: Database
    chain: Chain
    events: list[StoredEvent]
    other: Chain

    async def run(self, sql: str, *arguments: object) -> None:
        """Tamper. ``$ws`` is the chain's workspace."""
        status = await self.superuser.execute(sql.replace("$ws", f"'{self.chain.workspace_id}'"), *arguments)
        assert not status.endswith(" 0"), f"nothing was changed by {sql}"

    async def insert(self, *events: StoredEvent) -> None:
        """Slip events in."""
        await self.superuser.copy_records_to_table("events", records=rows(self.chain, events), columns=COLUMNS)

    async def mark(self, *ends: int, purged: int = 0) -> None:
        """Ranges of the chain's events that end at these seqs, and the events up to ``purged`` removed as the purge job does."""
        for first, last in zip((1, *(end + 1 for end in ends)), ends, strict=False):
            await self.superuser.execute(
                "INSERT INTO archive_range (workspace_id, from_seq, to_seq, company_id, archive_day, first_prev_hash, first_hash, "
                "last_hash, hot_until, marked_at, tiled_at, purging_at, purged_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $10, $11)",
                *(self.chain.workspace_id, first, last, self.chain.company_id, DAY),
                *(self.events[first - 1].prev_hash, self.events[first - 1].hash, self.events[last - 1].hash),
                *(BASE_TIME, BASE_TIME if first <= purged else None, BASE_TIME if last <= purged else None),
            )
        if purged:
            await self.run("DELETE FROM events WHERE workspace_id = $ws AND seq <= $1", purged)
            await self.superuser.execute(
                "INSERT INTO chain_floor (workspace_id, company_id, seq, hash, archive_day, received_at) VALUES ($1, $2, $3, $4, $5, $6)",
                *(self.chain.workspace_id, self.chain.company_id, purged, self.events[purged - 1].hash, DAY, BASE_TIME),
            )

    async def audit(self, workspace: str | None = None) -> tuple[Found, Report]:
        """What the auditor finds, about these two chains, as (workspace, seq, field)."""
        report = Report(lambda _finding: None)
        wanted = UUID(workspace) if workspace else None
        await walk_postgres(self.servers.settings(Role.AUDITOR), Region.US, report, lambda _total: lambda _count: None, wanted)
        return [(found.workspace_id, found.seq, found.field) for found in report.findings], report

    async def findings(self) -> Found:
        """Of the whole region; the tampered chain has to be the only one."""
        return (await self.audit())[0]

    def at(self, seq: int, field: str) -> Found:
        return [(self.chain.workspace_id, seq, field)]


@asynccontextmanager
async def audited(servers: LocalStack, superuser: Database) -> AsyncIterator[Case]:
    """A chain of six events, and another one of three that nobody touches."""
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(EMPTY)  # other tests leave rows that no worker wrote
    tenant = servers.tenant(workspaces=2)
    chain, other = (Chain(str(tenant.id), str(workspace.id)) for workspace in tenant.workspaces)
    events = chain.events(LENGTH)
    await store(superuser, chain, events)
    await store(superuser, other, other.events(3))
    yield Case(servers, superuser, chain, events, other)
    await superuser.execute(EMPTY)
