"""``restore-initiator``: asks the store for what was approved.

That it is about to ask is committed before it does. So a request found in INITIATING may have been asked for by a process that died: it is
looked at first, and asked for again only where the store knows of no restoration.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import partial

from ops.db import Connection
from ops.jobs.patience import patiently
from ops.jobs.restore.steps import GONE, Found, Steps
from ops.jobs.work import JobFailed, Work, in_thread
from ops.objects import Denied, NoCapacity, NotThere, ObjectStore, StoreUnavailable, Unsupported, Warm
from ops.restore.rows import RestoreRequest
from schemas.restore import State
from schemas.retention import DAY_MICROS

_GRACE_SECONDS = 1800


class _Answer(Enum):
    """What the store said. FETCHING: it is at it, or was, and the checker sees to the rest."""

    FETCHING = auto()
    WARM = auto()
    NOT_THERE = auto()
    NO_CAPACITY = auto()


async def run(work: Work) -> dict[str, int]:
    """Begin what may begin. Returns counts of requests that were started, could be read at once, or failed, and of those that wait.

    Raises ``JobFailed`` when the store could not be asked for some: these stay INITIATING, and the next run goes on with them.
    """
    initiator = _Initiator(work)
    async for found in initiator.steps.each("to_start"):
        await initiator.start(found)
    return initiator.end()


class _Initiator:
    def __init__(self, work: Work) -> None:
        self.steps = Steps(work, "restore-initiator")
        self._work = work
        self._asked: set[str] = set()
        self._counts = {"started": 0, "completed": 0, "failed": 0, "waiting": 0}
        self._refusal = ""

    async def start(self, found: Found) -> None:
        """Bring one request as far as it goes."""
        request = found.request
        if found.is_expiring:
            await patiently(lambda: self._fail(request))
            return
        if request.state is State.APPROVED:
            if not await patiently(lambda: self._initiate(request)):
                return
            self._work.faults.hit("restore_claimed")
        else:
            self._asked.add(request.id)
        try:
            await patiently(lambda: self._ask(request))
        except _Refused as error:
            self._counts["waiting"] += 1
            self._refusal = str(error)

    def end(self) -> dict[str, int]:
        """What it came to."""
        if self._refusal:
            raise JobFailed(f"{self._counts['waiting']} requests wait for the store: {self._refusal}", self._counts)
        return self._counts

    async def _initiate(self, request: RestoreRequest) -> bool:
        # Nobody's turn: of two who claim it one does, and who came too late must not be in the way when that one goes on to ask.
        async with self._work.pool.acquire() as connection, connection.transaction():
            return await self.steps.initiate(connection, request)

    async def _fail(self, request: RestoreRequest) -> None:
        async with self.steps.turn(request) as connection:
            if connection is not None:
                self._counts["failed"] += await self.steps.fail(connection, request, GONE)

    async def _ask(self, request: RestoreRequest) -> None:
        async with self.steps.turn(request.initiating()) as connection:
            if connection is None:
                return
            answer = await self._answer(request)
            self._work.faults.hit("restore_asked")
            await self._record(connection, request, answer)
        self._work.faults.hit("restore_recorded")

    async def _answer(self, request: RestoreRequest) -> _Answer:
        looks = request.id in self._asked
        self._asked.add(request.id)
        try:
            return await in_thread(self._work, partial(_ask, self._work.objects, request, self._work.clock.micros(), looks=looks))
        except NoCapacity as error:
            if not _is_late(request, self._work.clock.micros()):
                raise _Refused(str(error)) from error
            return _Answer.NO_CAPACITY
        except (StoreUnavailable, Denied) as error:
            raise _Refused(str(error)) from error

    async def _record(self, connection: Connection, request: RestoreRequest, answer: _Answer) -> None:
        match answer:
            case _Answer.FETCHING:
                self._counts["started"] += await self.steps.in_progress(connection, request)
            case _Answer.WARM:
                until = self._work.clock.micros() + request.days * DAY_MICROS
                self._counts["completed"] += await self.steps.complete(connection, request, until)
            case _Answer.NOT_THERE:
                self._counts["failed"] += await self.steps.fail(connection, request, "the store has no such object")
            case _Answer.NO_CAPACITY:
                self._counts["failed"] += await self.steps.fail(connection, request, f"the store has no capacity for {request.tier} now")


def _is_late(request: RestoreRequest, now: int) -> bool:
    """Whether a store without capacity is asked no more, as late as the metric of late ones takes it to be. Its archive can then be
    asked for again, by another tier.
    """
    begun = request.initiated_at
    return begun is not None and now >= begun + (2 * request.estimate.latest_seconds + _GRACE_SECONDS) * 1_000_000


class _Refused(Exception):
    """The store could not be asked, or does not let us: no reason to try again at once."""


def _ask(objects: ObjectStore, request: RestoreRequest, now: int, *, looks: bool) -> _Answer:
    """Ask for the object, if it has not been asked for; ``looks``: by whoever was here before."""
    try:
        if looks:
            head = objects.head(request.archive_key)
            known = None if head is None else head.restore
            if known is not None and (known.expires_at is None or known.expires_at > now):
                return _Answer.FETCHING
        objects.restore(request.archive_key, days=request.days, tier=request.tier)
    except NotThere:
        return _Answer.NOT_THERE
    except (Warm, Unsupported):  # the latter from stores that have no cold storage: they read everything at once
        return _Answer.WARM
    return _Answer.FETCHING
