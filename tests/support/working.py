"""Runs of jobs without their scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from prometheus_client import CollectorRegistry

from ops.clock import Clock, SystemClock
from ops.faults import FaultPoints
from ops.jobs.scheduler import open_job_pool
from ops.jobs.work import Work
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.objects import ObjectStore
from ops.settings import Settings
from schemas.topics import Region
from tests.support.stack import LocalStack


async def _alive() -> None:
    """A lease that nobody takes."""


@asynccontextmanager
async def working(
    servers: LocalStack,
    region: Region = Region.US,
    *,
    clock: Clock | None = None,
    settings: Settings | None = None,
    objects: ObjectStore | None = None,
    faults: FaultPoints | None = None,
    beat: Callable[[], Awaitable[None]] = _alive,
    is_by_hand: bool = False,
) -> AsyncIterator[Work]:
    """What a job is given, in the scheduler's role on the stack's servers."""
    settings = settings or servers.settings(Role.SCHEDULER)
    async with await open_job_pool(settings, region, 4) as pool:
        yield Work(
            settings=settings,
            region=region,
            pool=pool,
            objects=objects or ObjectStore.of(settings, region),
            clock=clock or SystemClock(),
            metrics=Metrics(CollectorRegistry()),
            faults=faults or FaultPoints(None),
            run_id=str(uuid4()),
            beat=beat,
            is_by_hand=is_by_hand,
        )
