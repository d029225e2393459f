"""The steps that a restore request takes: each in one transaction with its part's row and its entry in the audit, one worker at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from ops import audit
from ops.db import Connection, load_queries
from ops.jobs.patience import patiently
from ops.jobs.work import Work
from ops.restore.rows import RestoreRequest, to_request
from schemas.audit import Entry, Outcome
from schemas.event import format_time

PAGE_REQUESTS = 100
GONE = "the archive reached the end of its retention"
_FIRST = UUID(int=0)


class Found(NamedTuple):
    """A request as a page showed it."""

    request: RestoreRequest
    is_expiring: bool
    """Whether its part is being removed."""


class Steps:
    """Of one run of a job. What names a request returns whether it was moved: another worker may have been faster."""

    def __init__(self, work: Work, job: str) -> None:
        self._work = work
        self._job = job
        self._sql = load_queries("ops.jobs.restore")

    async def each(self, query: str, *arguments: object) -> AsyncIterator[Found]:
        """All requests that a query finds, a page at a time."""
        after = _FIRST
        while found := await patiently(partial(self._work.pool.fetch, self._sql[query], after, PAGE_REQUESTS, *arguments)):
            for row in found:
                await self._work.beat()
                yield Found(to_request(row), row["is_expiring"])
            after = found[-1]["id"]

    @asynccontextmanager
    async def turn(self, request: RestoreRequest) -> AsyncIterator[Connection | None]:
        """A transaction in which no other worker is at the request; ``None`` where one is, or has moved it since it was found.

        What the store is asked meanwhile may take longer than PostgreSQL lets a transaction be idle: then this fails, and what was asked
        is found by the next run.
        """
        async with self._work.pool.acquire() as connection, connection.transaction():
            is_ours = await connection.fetchval(self._sql["take_turn"], request.id)
            is_ours = is_ours and await connection.fetchval(self._sql["state"], request.id) == request.state
            yield connection if is_ours else None

    async def initiate(self, connection: Connection, request: RestoreRequest) -> bool:
        """It is about to be asked for."""
        return await self._move(connection, request, "initiate", self._now())

    async def in_progress(self, connection: Connection, request: RestoreRequest) -> bool:
        """It was asked for: the audit was told before."""
        return await connection.fetchval(self._sql["in_progress"], request.id, self._now()) is not None

    async def note_checked(self, connection: Connection, request: RestoreRequest) -> None:
        """The store has not got it yet."""
        await connection.execute(self._sql["note_checked"], request.id, self._now())

    async def complete(self, connection: Connection, request: RestoreRequest, until: int) -> bool:
        """It can be read until then (microseconds)."""
        return await self._move(connection, request, "complete", self._now(), until, told={"restoredUntil": format_time(until)})

    async def fail(self, connection: Connection, request: RestoreRequest, reason: str) -> bool:
        """It won't come to anything."""
        return await self._move(connection, request, "fail", reason, told={"reason": reason}, outcome=Outcome.FAILURE)

    async def expire(self, connection: Connection, request: RestoreRequest) -> bool:
        """It is over."""
        return await self._move(connection, request, "expire", self._now())

    async def _move(
        self,
        connection: Connection,
        request: RestoreRequest,
        step: str,
        *arguments: object,
        told: Any = None,
        outcome: Outcome = Outcome.SUCCESS,
    ) -> bool:
        if await connection.fetchval(self._sql[step], request.id, *arguments) is None:
            return False
        entry = Entry(
            action=f"restore.{step}",
            outcome=outcome,
            actor={"id": self._job, "type": "job"},
            trace_id=UUID(self._work.run_id).hex,
            target=request.target(),
            metadata={**request.told(), **(told or {}), "jobRunId": self._work.run_id},
        )
        await audit.write(connection, entry, region=self._work.region, company_id=request.company_id, now=self._now())
        self._work.faults.hit("restore_before_commit")
        return True

    def _now(self) -> int:
        return self._work.clock.micros()
