"""A job that an operator runs here and now: under the claim that its scheduler would need, and told to the operators' audit."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from ops.clock import Clock, MovedClock
from ops.db import Pool
from ops.faults import FaultPoints
from ops.jobs.ledger import Ledger, Standing, holder
from ops.jobs.registry import JOBS, Job, schedules
from ops.jobs.running import Ending, Runner, Surroundings
from ops.jobs.scheduler import open_job_pool
from ops.metrics import Metrics
from ops.objects import ObjectStore
from ops.settings import Settings
from schemas.audit import Entry, Outcome
from schemas.event import format_time
from schemas.topics import Region

_CONNECTIONS = 6


class Refused(Exception):
    """The job was not run; the message says why."""


async def run_once(
    settings: Settings, region: Region, name: str, *, clock: Clock, as_of: int | None = None, jobs: Mapping[str, Job] = JOBS
) -> Ending:
    """Run the job of that name to its end. ``as_of`` (microseconds) is the time it works by; leases and its record go by ``clock``.

    Raises ``Refused``, and what ``db.is_unavailable`` knows.
    """
    async with _opened(settings, region, clock, _CONNECTIONS) as (pool, ledger):
        if as_of is not None and not await ledger.is_demo():
            raise Refused("time is moved on a demo's database only")
        await ledger.plan(schedules(settings, jobs), only_new=True)
        run_id = await ledger.claim(name, is_by_hand=True, entry=_entry(region, name, as_of))
        if run_id is None:
            raise Refused("somebody else runs it: `hyrelog jobs` says who")
        work_clock = None if as_of is None else MovedClock(clock, as_of - clock.micros())
        metrics, objects = Metrics(CollectorRegistry()), ObjectStore.of(settings, region, work_clock or clock)
        around = Surroundings(settings, region, pool, objects, clock, metrics, FaultPoints(settings.fault_points))
        return await Runner(around, ledger).run(name, jobs[name], run_id, schedule=None, work_clock=work_clock)


async def standings(settings: Settings, region: Region, *, clock: Clock) -> Sequence[Standing]:
    """How the region's jobs stand. Raises what ``db.is_unavailable`` knows."""
    async with _opened(settings, region, clock, 1) as (_pool, ledger):
        return await ledger.standings()


@asynccontextmanager
async def _opened(settings: Settings, region: Region, clock: Clock, connections: int) -> AsyncIterator[tuple[Pool, Ledger]]:
    pool = await open_job_pool(settings, region, connections)
    try:
        yield pool, Ledger(pool, region, clock=clock, holder=holder(), lease_seconds=settings.scheduler_lease_seconds)
    finally:
        pool.terminate()


def _entry(region: Region, name: str, as_of: int | None) -> Entry:
    """What the audit is told, in the transaction of the claim."""
    detail = {"region": region.value} | ({} if as_of is None else {"asOf": format_time(as_of)})
    actor = {"id": getpass.getuser(), "type": "operator"}
    return Entry("job.run", Outcome.SUCCESS, actor, secrets.token_hex(16), {"id": name, "type": "job"}, detail)
