"""The jobs' book-keeping in one region's database: when each is due, who has it, how its runs went."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from ops import audit
from ops.clock import Clock
from ops.db import Pool, Row, load_queries
from ops.schedule import Schedule
from schemas import ids
from schemas.audit import Entry
from schemas.retention import DAY_MICROS
from schemas.topics import Region

_KEPT_DAYS = 90
_ACQUIRE_SECONDS = 5.0


class Result(StrEnum):
    """How a run ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    """With its process, which told so: it is begun again at once."""
    LOST = "LOST"
    """With its process, which told nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands. Times are microseconds."""

    name: str
    schedule: str
    next_run_at: int
    holder: str | None
    lease_until: int | None
    running_since: int | None
    last_started_at: int | None
    last_finished_at: int | None
    last_result: str | None
    last_detail: Mapping[str, Any] | None
    last_success_at: int | None

    def is_running(self, now: int) -> bool:
        """Whether somebody has it whose lease holds."""
        return self.lease_until is not None and self.lease_until > now


def holder() -> str:
    """This process, as people find it again."""
    return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"


class Ledger:
    """What the jobs of a region stand in. Every call is one short transaction."""

    def __init__(self, pool: Pool, region: Region, *, clock: Clock, holder: str, lease_seconds: float) -> None:
        """``clock`` is the one that schedules and leases go by."""
        self._pool = pool
        self._region = region
        self._clock = clock
        self._holder = holder
        self._lease_micros = round(lease_seconds * 1e6)
        self._sql = load_queries("ops.jobs", "ledger.sql")

    async def plan(self, schedules: Mapping[str, Schedule], *, only_new: bool = False) -> None:
        """Write the jobs down that are new, or have another schedule. A new one is due for the first time when its schedule says so."""
        now = self._clock.micros()
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            for name, schedule in schedules.items():
                await connection.execute(self._sql["plan_job"], name, schedule.expression, schedule.next_after(now), now, only_new)

    async def is_demo(self) -> bool:
        """Whether the database says that it is a demo's."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            return bool(await connection.fetchval(self._sql["is_demo"]))

    async def standings(self) -> Sequence[Standing]:
        """All jobs that were ever planned here, by name."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            return [_standing(row) for row in await connection.fetch(self._sql["jobs"])]

    async def claim(self, name: str, *, is_by_hand: bool = False, entry: Entry | None = None) -> str | None:
        """The id of a run that is ours now; ``None`` when the job is not due, or another one's. With an entry, the audit is told of it."""
        now, run_id = self._clock.micros(), ids.uuid7(self._clock.micros(), os.urandom(ids.RANDOM_BYTES))
        until = now + self._lease_micros
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection, connection.transaction():
            taken = await connection.fetchval(self._sql["claim"], name, now, run_id, self._holder, until, is_by_hand)
            if taken is None:
                return None
            if entry is not None:
                await audit.write(connection, entry, region=self._region, company_id=None, now=now)
        return run_id

    async def tell(self, entry: Entry) -> None:
        """Tell the operators' audit of what was not done."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            await audit.write(connection, entry, region=self._region, company_id=None, now=self._clock.micros())

    async def beat(self, name: str, run_id: str) -> bool:
        """Extend the lease; ``False`` when somebody else has the job."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            until = self._clock.micros() + self._lease_micros
            return await connection.fetchval(self._sql["beat"], name, UUID(run_id), until) is not None

    async def finish(self, name: str, run_id: str, result: Result, detail: Mapping[str, Any], next_run_at: int | None) -> bool:
        """Write down how the run ended; ``False`` when the job is another one's by now, and nothing was written."""
        now = self._clock.micros()
        told = orjson.dumps(detail).decode()
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            forget = now - _KEPT_DAYS * DAY_MICROS
            done = await connection.fetchval(self._sql["finish"], name, UUID(run_id), now, result.value, told, next_run_at, forget)
        return done is not None


def _standing(row: Row) -> Standing:
    detail = row["last_detail"]
    return Standing(
        name=row["name"],
        schedule=row["schedule"],
        next_run_at=row["next_run_at"],
        holder=row["holder"],
        lease_until=row["lease_until"],
        running_since=row["running_since"],
        last_started_at=row["last_started_at"],
        last_finished_at=row["last_finished_at"],
        last_result=row["last_result"],
        last_detail=None if detail is None else orjson.loads(detail),
        last_success_at=row["last_success_at"],
    )
