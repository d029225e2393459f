"""What is done with exports: each action and its audit entry in one transaction (contract §3, §8)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any
from uuid import UUID, uuid4

import orjson

from api.attempt import Attempt
from api.exports.archive import Run
from api.exports.gates import Gates
from api.exports.rows import DEAD_SECONDS, REQUESTED, Job, Result, to_job
from api.exports.wishes import ExportWish
from api.management import Management
from api.store import Store
from ops.auth import Principal
from ops.db import Connection, load_queries
from schemas import ids
from schemas.problems import Conflict, NotFound, RateLimited

RETRY_AFTER_SECONDS = 10
_ABOVE_ALL = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Started:
    """A download that has begun: of which export, under which id, of which events."""

    job: Job
    id: UUID
    scope: Sequence[Run]


class Pulse(Enum):
    """Whether a download goes on. SUPERSEDED: it was cancelled, or another one has taken its place."""

    GOES_ON = auto()
    SUPERSEDED = auto()
    KEY_ENDED = auto()


class Exports:
    """Exports in the regions' databases. Whatever takes an id raises ``NotFound`` for one that is not the caller's."""

    def __init__(self, store: Store, management: Management, downloads: int) -> None:
        """``downloads``: how many exports of a company may be downloaded at a time, whatever the number of processes."""
        self._store = store
        self._management = management
        self._downloads = downloads
        self._sql = load_queries("api.exports")
        self._gates = Gates(self._sql)

    async def get(self, caller: Principal, export_id: str) -> Job:
        """An export as it stands."""
        async with self._store.reading_for(caller, "export") as connection:
            return await self._read(connection, caller, export_id)

    async def page(self, caller: Principal, before: bytes | None, limit: int) -> Sequence[Job]:
        """Up to ``limit`` exports, the newest first, from in front of an id."""
        edge = _ABOVE_ALL if before is None else UUID(bytes=before)
        async with self._store.reading_for(caller, "exports") as connection:
            rows = await connection.fetch(self._sql["exports"], caller.company_id, caller.workspace_id, edge, limit, DEAD_SECONDS)
        return [to_job(row) for row in rows]

    async def create(self, attempt: Attempt, caller: Principal, wish: ExportWish) -> Job:
        """A new export of what is there now. Raises ``ValidationFailed``, ``PlanRestricted``, ``PlanLimitExceeded``,
        ``RetentionWindowExceeded`` and ``RestoreRequired``.
        """
        wish.check()
        now = self._management.now()
        export_id = ids.uuid7(now, os.urandom(ids.RANDOM_BYTES))
        filters = wish.filters.asked()
        place = (export_id, caller.company_id, caller.workspace_id)
        times = (wish.start, wish.end)
        async with self._store.acting_in_turn(caller, "create_export") as connection:
            most = await self._gates.admit(connection, caller, wish, now)
            await connection.execute(
                self._sql["insert_job"],
                *(*place, wish.source, wish.format, orjson.dumps(filters).decode(), *times, wish.limit, most),
                *(wish.csv_raw, wish.verification, now),
            )
            await self._insert_scope(connection, caller, export_id, wish)
            job = await self._read(connection, caller, export_id)
            await self._gates.check_cold(connection, caller, job, now)
            told = {"source": wish.source, "format": wish.format, "filters": sorted(filters), "limit": wish.limit}
            await self._write(connection, attempt, job, told)
        return job

    async def cancel(self, attempt: Attempt, caller: Principal, export_id: str) -> Job:
        """For good; one that has succeeded stays so."""
        async with self._store.acting_in_turn(caller, "cancel_export") as connection:
            job = await self._hold(connection, caller, export_id)
            await connection.execute(self._sql["cancel"], caller.company_id, export_id, self._management.now())
            await self._write(connection, attempt, job, {"before": job.state})
            return await self._read(connection, caller, export_id)

    async def begin(self, attempt: Attempt, caller: Principal, export_id: str, offset: int) -> Started:
        """Begin a download, in place of the one of this export that is under way, if one is. Its rows are bounded by today's plan too.

        Raises ``Conflict`` for one that was cancelled or whose events are gone, ``PlanRestricted``, ``RestoreRequired``, ``RateLimited``.
        """
        now, run = self._management.now(), uuid4()
        async with self._store.acting_in_turn(caller, "begin_download") as connection:
            await connection.execute(self._sql["lock_downloads"], caller.company_id)
            job = await self._hold(connection, caller, export_id)
            if job.state == "CANCELED" and job.reason == REQUESTED:
                raise Conflict("The export was cancelled.")
            job = replace(job, most_rows=await self._gates.admit_again(connection, caller, job))
            await self._gates.check_cold(connection, caller, job, now)
            await self._gates.check_there(connection, caller, job)
            await self._check_downloads(connection, caller, export_id)
            await connection.execute(self._sql["begin"], caller.company_id, export_id, run, now)
            rows = await connection.fetch(self._sql["scope"], caller.company_id, export_id)
            await self._write(connection, attempt, job, {"offset": offset})
        return Started(job, run, [Run(str(row["workspace_id"]), row["from_seq"], row["to_seq"]) for row in rows])

    async def beat(self, caller: Principal, started: Started, rows: int) -> Pulse:
        """Say that a download is alive and how many rows it has come to."""
        place = (caller.company_id, started.job.id, started.id)
        async with self._acting(caller, "beat") as connection:
            key_id = None if caller.user is not None else caller.key_id
            has_key: bool | None = await connection.fetchval(self._sql["beat"], *place, rows, key_id)
        if has_key is None:
            return Pulse.SUPERSEDED
        return Pulse.GOES_ON if has_key else Pulse.KEY_ENDED

    async def succeed(self, caller: Principal, started: Started, rows: int, truncated: bool, result: Result) -> bool:
        """Write down that a download is complete; ``False`` when it was cancelled or another one has taken its place."""
        workspaces = orjson.dumps(result.workspaces).decode()
        values = (rows, truncated, result.size, result.sha256, workspaces, self._management.now())
        async with self._acting(caller, "succeed") as connection:
            found = await connection.fetchval(self._sql["succeed"], caller.company_id, started.job.id, started.id, *values)
        return found is not None

    async def end(self, caller: Principal, started: Started, state: str, reason: str, rows: int) -> None:
        """Write down that a download was broken off."""
        values = (state, reason, rows, self._management.now())
        async with self._acting(caller, "end_download") as connection:
            await connection.execute(self._sql["end"], caller.company_id, started.job.id, started.id, *values)

    @asynccontextmanager
    async def _acting(self, caller: Principal, action: str) -> AsyncIterator[Connection]:
        """In the company's name, as all actions: a workspace's key's audit is the company's too. Not in its turn: what a download that is
        under way says of itself must not wait for new ones.
        """
        async with self._store.acting(caller.region, caller.company_id, action) as connection:
            yield connection

    async def _insert_scope(self, connection: Connection, caller: Principal, export_id: str, wish: ExportWish) -> None:
        filters = wish.filters
        workspace = caller.workspace_id or filters.workspace_id
        if filters.workspace_id not in (None, workspace):
            return
        place = (export_id, caller.company_id, workspace)
        if filters.idempotency_key is not None:
            await connection.execute(self._sql["insert_scope_of_key"], *place, filters.idempotency_key)
            return
        asked = filters.filter(wish.start, wish.end)
        times = (asked.start, asked.end, asked.received_start, asked.received_end)
        await connection.execute(self._sql["insert_scope"], *place, wish.source != "ARCHIVED", wish.source != "HOT", *times)

    async def _check_downloads(self, connection: Connection, caller: Principal, export_id: str) -> None:
        under_way: int = await connection.fetchval(self._sql["under_way"], caller.company_id, export_id, DEAD_SECONDS)
        if under_way >= self._downloads:
            sentence = f"A company may download {self._downloads} exports at a time."
            raise RateLimited(sentence, retry_after=RETRY_AFTER_SECONDS)

    async def _hold(self, connection: Connection, caller: Principal, export_id: str) -> Job:
        if not await connection.fetch(self._sql["hold"], caller.company_id, export_id, caller.workspace_id):
            raise NotFound
        return await self._read(connection, caller, export_id)

    async def _read(self, connection: Connection, caller: Principal, export_id: str) -> Job:
        row = await connection.fetchrow(self._sql["export"], caller.company_id, export_id, caller.workspace_id, DEAD_SECONDS)
        if row is None:
            raise NotFound
        return to_job(row)

    async def _write(self, connection: Connection, attempt: Attempt, job: Job, told: Mapping[str, Any]) -> None:
        await self._management.write(connection, attempt, attempt.done(job.target(), told))
