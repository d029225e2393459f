"""What a job is given, and what it may count on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from ops.clock import Clock
from ops.db import Pool
from ops.faults import FaultPoints
from ops.metrics import Metrics
from ops.objects import ObjectStore
from ops.settings import Settings
from schemas.topics import Region

Result = TypeVar("Result")
_BEAT_SECONDS = 5.0


class LeaseLost(Exception):
    """The run took too long to tell that it lives, and somebody else may do its work by now: stop."""


class JobFailed(Exception):
    """The job did what it could, and not all is well. ``counts`` are what it came to."""

    def __init__(self, reason: str, counts: Mapping[str, int]) -> None:
        super().__init__(reason)
        self.counts = dict(counts)


@dataclass(frozen=True, slots=True)
class Work:
    """One run of a job in one region.

    A job may be killed anywhere and is run again, then or the next day: what it did counts, and is not done twice.
    """

    settings: Settings
    region: Region
    pool: Pool
    """In the role hyrelog_scheduler; times are microseconds."""
    objects: ObjectStore
    clock: Clock
    """The time as of which the job works."""
    metrics: Metrics
    faults: FaultPoints
    run_id: str
    beat: Callable[[], Awaitable[None]]
    """Extends the lease, at most every few seconds; raises ``LeaseLost`` once somebody else may have the job. Call it between steps."""
    is_by_hand: bool = False
    """Whether somebody waits for its end."""


Run: TypeAlias = Callable[[Work], Awaitable[dict[str, int]]]
"""A job: returns counts of what it did, by name. Raises ``JobFailed``, or whatever stops it."""


async def in_thread(work: Work, blocking: Callable[[], Result]) -> Result:
    """Call what blocks in a thread, and tell meanwhile that the run lives.

    A thread can't be stopped: when the lease is lost, or this is cancelled, it goes on to its end and nobody hears of it.
    """
    task = asyncio.ensure_future(asyncio.to_thread(blocking))
    while not (await asyncio.wait([task], timeout=_BEAT_SECONDS))[0]:
        await work.beat()
    return task.result()
