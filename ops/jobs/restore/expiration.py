"""``restore-expiration``: writes down that restorations are over. From when they are, nobody reads their parts, whenever this runs."""

from __future__ import annotations

from functools import partial

from ops.jobs.patience import patiently
from ops.jobs.restore.steps import Steps
from ops.jobs.work import Work
from ops.restore.rows import RestoreRequest


async def run(work: Work) -> dict[str, int]:
    """End what is over; how many requests that were."""
    steps, expired = Steps(work, "restore-expiration"), 0
    async for found in steps.each("to_expire", work.clock.micros()):
        expired += await patiently(partial(_expire, steps, found.request))
        work.faults.hit("restore_recorded")
    return {"requests": expired}


async def _expire(steps: Steps, request: RestoreRequest) -> bool:
    async with steps.turn(request) as connection:
        return connection is not None and await steps.expire(connection, request)
