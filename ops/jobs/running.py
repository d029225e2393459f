"""One run of a claimed job: under a lease that is kept while it works, and told how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from ops import failures, log
from ops.clock import Clock
from ops.db import Pool, is_unavailable
from ops.faults import FaultPoints
from ops.jobs.ledger import Ledger, Result
from ops.jobs.registry import Job
from ops.jobs.work import JobFailed, LeaseLost, Work
from ops.metrics import Metrics
from ops.objects import ObjectStore
from ops.schedule import Schedule
from ops.settings import Settings
from schemas.topics import Region

_LOG = log.get(__name__)
_BEATS_A_LEASE = 4
_FINISH_PAUSE_SECONDS = 1.0


class Surroundings(NamedTuple):
    """What all runs of a region have in common."""

    settings: Settings
    region: Region
    pool: Pool
    objects: ObjectStore
    clock: Clock
    metrics: Metrics
    faults: FaultPoints


class Ending(NamedTuple):
    """How a run ended: ``detail`` has the job's counts, and ``error`` when it failed."""

    result: Result
    detail: Mapping[str, Any]


class _Lease:
    """Says again and again that the run lives."""

    def __init__(self, ledger: Ledger, name: str, run_id: str, clock: Clock, seconds: float) -> None:
        self._ledger = ledger
        self._name = name
        self._run_id = run_id
        self._clock = clock
        self._seconds = seconds
        self._held_at = clock.monotonic()

    async def beat(self) -> None:
        """Extend it, unless that was done just now. Raises ``LeaseLost``."""
        if self._clock.monotonic() - self._held_at >= self._seconds / (2 * _BEATS_A_LEASE):
            await self.extend()

    async def extend(self) -> None:
        """Extend it. The database may be away for as long as it holds. Raises ``LeaseLost``."""
        began = self._clock.monotonic()
        try:
            is_ours = await self._ledger.beat(self._name, self._run_id)
        except Exception as error:
            if not is_unavailable(error):
                raise
            is_ours = self._clock.monotonic() - self._held_at < self._seconds
        else:
            self._held_at = began
        if not is_ours:
            raise LeaseLost

    async def keep(self) -> None:
        """Extend it for ever, so that a long step need not. Raises ``LeaseLost``."""
        while True:
            await asyncio.sleep(self._seconds / _BEATS_A_LEASE)
            await self.extend()


class Runner:
    """Runs jobs of one region that its ledger let us claim."""

    def __init__(self, around: Surroundings, ledger: Ledger) -> None:
        self._around = around
        self._ledger = ledger

    async def run(self, name: str, job: Job, run_id: str, *, schedule: Schedule | None, work_clock: Clock | None = None) -> Ending:
        """Run to the end and write down how it went; with a ``schedule``, also when it is next due.

        ``work_clock`` is what the job takes for the time; else it is the one that leases go by. When this is cancelled, so is the job,
        which is due still. Never raises for what the job does.
        """
        settings, clock, faults = self._around.settings, self._around.clock, self._around.faults
        lease = _Lease(self._ledger, name, run_id, clock, settings.scheduler_lease_seconds)
        work = Work(
            **self._around._replace(clock=work_clock or clock)._asdict(), run_id=run_id, beat=lease.beat, is_by_hand=schedule is None
        )
        began = clock.monotonic()
        faults.hit("job_claimed")
        doing, keeping = asyncio.ensure_future(job.run(work)), asyncio.ensure_future(lease.keep())
        try:
            await asyncio.wait((doing, keeping), return_when=asyncio.FIRST_COMPLETED)
            ending = await self._ending(name, doing, keeping)
        except asyncio.CancelledError:
            await _end(doing, keeping)
            await self._write(name, run_id, Ending(Result.STOPPED, {}), None)
            raise
        finally:
            await _end(doing, keeping)
        faults.hit("job_before_finish")
        if ending.result is not Result.LOST:
            await self._write(name, run_id, ending, None if schedule is None else self._next(ending.result, schedule))
        self._count(name, ending, clock.monotonic() - began)
        return ending

    async def _ending(self, name: str, doing: asyncio.Future[dict[str, int]], keeping: asyncio.Future[None]) -> Ending:
        if not doing.done():
            await _end(doing)
            error = keeping.exception()
            if not isinstance(error, LeaseLost):
                return self._failed(name, error or RuntimeError("the lease is not kept"), {})
        else:
            error = asyncio.CancelledError() if doing.cancelled() else doing.exception()
            if error is None:
                return Ending(Result.SUCCEEDED, doing.result())
        if isinstance(error, LeaseLost):
            _LOG.warning("a job was lost to somebody else", job=name, region=self._around.region)
            return Ending(Result.LOST, {"error": "the lease was lost"})
        return self._failed(name, error, error.counts if isinstance(error, JobFailed) else {})

    def _failed(self, name: str, error: BaseException, counts: Mapping[str, int]) -> Ending:
        is_told = isinstance(error, JobFailed) or is_unavailable(error)
        _LOG.error("a job failed", job=name, region=self._around.region, error=failures.summary(error), exc_info=None if is_told else error)
        return Ending(Result.FAILED, {**counts, "error": failures.summary(error)})

    def _next(self, result: Result, schedule: Schedule) -> int:
        """After a failure sooner than by its schedule."""
        now = self._around.clock.micros()
        planned = schedule.next_after(now)
        retry = now + round(self._around.settings.scheduler_retry_seconds * 1e6)
        return planned if result is Result.SUCCEEDED else min(planned, retry)

    async def _write(self, name: str, run_id: str, ending: Ending, next_run_at: int | None) -> None:
        """As long as the lease holds; afterwards somebody else runs the job again, and that is told."""
        deadline = self._around.clock.monotonic() + self._around.settings.scheduler_lease_seconds
        while True:
            try:
                await self._ledger.finish(name, run_id, ending.result, ending.detail, next_run_at)
            except Exception as error:
                if not is_unavailable(error) or self._around.clock.monotonic() > deadline:
                    raise
                await asyncio.sleep(_FINISH_PAUSE_SECONDS)
            else:
                return

    def _count(self, name: str, ending: Ending, seconds: float) -> None:
        labels = (self._around.region.value, name)
        self._around.metrics.job_runs.labels(*labels, ending.result.value).inc()
        self._around.metrics.job_seconds.labels(*labels).observe(seconds)
        if ending.result is Result.SUCCEEDED:
            _LOG.info("a job is done", job=name, region=self._around.region, seconds=round(seconds, 3), **ending.detail)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
