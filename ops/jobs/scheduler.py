"""One region's jobs, run when they are due: each once, however many of these there are, and side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

from ops import failures, log
from ops.clock import Clock
from ops.db import BY_INDEX, Pool, Timeouts, is_unavailable, load_queries, open_pool
from ops.faults import FaultPoints
from ops.jobs.ledger import Ledger, Result, Standing, holder
from ops.jobs.registry import Job, schedules
from ops.jobs.restore.gauge import RestoreGauge
from ops.jobs.running import Runner, Surroundings
from ops.metrics import Metrics
from ops.objects import ObjectStore
from ops.settings import Settings
from schemas.topics import Region

_LOG = log.get(__name__)
_STATEMENT_SECONDS = 60.0
"""Jobs read and remove in pages; none of their statements may hold the vacuum up for longer."""
_CONNECTIONS_A_JOB = 2
_CONNECTIONS_BESIDE_JOBS = 2
_ANSWER_AGE_SECONDS = 60.0


class RegionScheduler:
    """Runs one region's jobs while it is entered. What is under way when it ends is due still, and somebody else begins it at once."""

    def __init__(
        self, settings: Settings, region: Region, jobs: Mapping[str, Job], *, metrics: Metrics, clock: Clock, faults: FaultPoints
    ) -> None:
        """Raises ``ValueError`` for schedules that are none."""
        self.region = region
        self._settings = settings
        self._jobs = jobs
        self._schedules = schedules(settings, jobs)
        self._metrics = metrics
        self._clock = clock
        self._faults = faults
        self._unverified = metrics.archive_unverified.labels(region.value)
        self._count_failed = load_queries("ops.jobs", "verification.sql")["count_failed"]
        self._answered_at = clock.monotonic()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        self._pool = await open_job_pool(self._settings, self.region, _CONNECTIONS_A_JOB * len(self._jobs) + _CONNECTIONS_BESIDE_JOBS)
        self._ledger = Ledger(
            self._pool, self.region, clock=self._clock, holder=holder(), lease_seconds=self._settings.scheduler_lease_seconds
        )
        objects = ObjectStore.of(self._settings, self.region)
        around = Surroundings(self._settings, self.region, self._pool, objects, self._clock, self._metrics, self._faults)
        self._runner = Runner(around, self._ledger)
        self._restores = RestoreGauge(self._pool, self._metrics, self.region)
        self._task = asyncio.create_task(self._keep_time())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        tasks = [self._task, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.terminate()

    async def check(self) -> None:
        """Raise when the jobs were not looked at for a while."""
        if self._clock.monotonic() - self._answered_at > _ANSWER_AGE_SECONDS:
            raise TimeoutError("the jobs were not looked at for a while")

    async def _keep_time(self) -> None:
        is_planned = False
        while True:
            try:
                if not is_planned:
                    await self._ledger.plan(self._schedules)
                    is_planned = True
                await self._look()
            except Exception as error:  # noqa: BLE001 - whatever it is, jobs must not stop being run: try again
                if is_unavailable(error):
                    _LOG.warning("retrying", region=self.region, error=type(error).__name__)
                else:
                    _LOG.error("retrying", region=self.region, error=failures.summary(error))
            await asyncio.sleep(self._settings.scheduler_poll_seconds)

    async def _look(self) -> None:
        """Begin what is due and nobody does."""
        standings = [each for each in await self._ledger.standings() if each.name in self._jobs]
        self._answered_at = self._clock.monotonic()
        now = self._clock.micros()
        self._tell(standings, now)
        self._unverified.set(await self._pool.fetchval(self._count_failed))
        await self._restores.tell(now)
        for each in standings:
            if each.next_run_at <= now and each.name not in self._running and not each.is_running(now):
                run_id = await self._ledger.claim(each.name)
                if run_id is not None:
                    self._running[each.name] = asyncio.create_task(self._run(each.name, run_id))

    async def _run(self, name: str, run_id: str) -> None:
        try:
            await self._runner.run(name, self._jobs[name], run_id, schedule=self._schedules[name])
        except Exception as error:  # noqa: BLE001 - how it ended could not be written down: once its lease is over, it is run again
            _LOG.error("a job's end is not known", job=name, region=self.region, error=failures.summary(error))
        finally:
            del self._running[name]

    def _tell(self, standings: Sequence[Standing], now: int) -> None:
        """What the ledger knows, whoever ran them."""
        for each in standings:
            labels = (self.region.value, each.name)
            late = 0 if each.is_running(now) else max(0, now - each.next_run_at) / 1e6
            self._metrics.job_overdue.labels(*labels).set(late)
            self._metrics.job_failing.labels(*labels).set(each.last_result == Result.FAILED)
            if each.last_success_at is not None:
                self._metrics.job_success_at.labels(*labels).set(each.last_success_at / 1e6)


async def open_job_pool(settings: Settings, region: Region, size: int) -> Pool:
    """A region's connections for jobs."""
    timeouts = Timeouts(statement=_STATEMENT_SECONDS, lock=_STATEMENT_SECONDS, idle_in_transaction=_STATEMENT_SECONDS)
    url = settings.database_url(region)
    return await open_pool(url, application_name="hyrelog-scheduler", region=region, max_size=size, timeouts=timeouts, parameters=BY_INDEX)
