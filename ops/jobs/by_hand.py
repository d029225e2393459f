"""A job that an operator runs here and now: under the claim that its scheduler would need, and told to the operators' audit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from ops import audit
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
        run_id = await _claim(ledger, settings, region, name, as_of, jobs)
        work_clock = None if as_of is None else MovedClock(clock, as_of - clock.micros())
        metrics, objects = Metrics(CollectorRegistry()), ObjectStore.of(settings, region, work_clock or clock)
        around = Surroundings(settings, region, pool, objects, clock, metrics, FaultPoints(settings.fault_points))
        return await Runner(around, ledger).run(name, jobs[name], run_id, schedule=None, work_clock=work_clock)


async def _claim(ledger: Ledger, settings: Settings, region: Region, name: str, as_of: int | None, jobs: Mapping[str, Job]) -> str:
    """The id of a run that is ours now. Raises ``Refused``, of which the audit is told too."""
    if as_of is not None and not await ledger.is_demo():
        refusal = "time is moved on a demo's database only"
    else:
        await ledger.plan(schedules(settings, jobs), only_new=True)
        run_id = await ledger.claim(name, is_by_hand=True, entry=_entry(region, name, as_of))
        if run_id is not None:
            return run_id
        refusal = "somebody else runs it: `hyrelog jobs` says who"
    await ledger.tell(_entry(region, name, as_of, refusal))
    raise Refused(refusal)


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


def _entry(region: Region, name: str, as_of: int | None, refusal: str | None = None) -> Entry:
    """What the audit is told: in the transaction of the claim, or of its refusal."""
    told = {"region": region.value, "asOf": None if as_of is None else format_time(as_of), "reason": refusal}
    detail = {member: value for member, value in told.items() if value is not None}
    outcome = Outcome.SUCCESS if refusal is None else Outcome.DENIED
    return audit.by_operator("job.run", {"id": name, "type": "job"}, detail, outcome)
