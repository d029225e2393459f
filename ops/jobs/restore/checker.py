"""``restore-status-checker``: looks at what the store is fetching; once it is there, its part can be read."""

from __future__ import annotations

from functools import partial

from ops.db import Connection
from ops.jobs.patience import patiently
from ops.jobs.restore import expiration
from ops.jobs.restore.steps import GONE, Found, Steps
from ops.jobs.work import JobFailed, Work, in_thread
from ops.objects import COLD_CLASSES, Denied, Head, StoreUnavailable
from ops.restore.rows import RestoreRequest
from schemas.retention import DAY_MICROS

LOST = "the store knows of no restoration any more"


async def run(work: Work) -> dict[str, int]:
    """Look at all of them. Returns counts of requests that are complete, failed, under way still, over, and could not be looked at.

    Raises ``JobFailed`` for the last.
    """
    checker = _Checker(work)
    async for found in checker.steps.each("to_check"):
        await checker.check(found)
    ended = await expiration.run(work)  # an archive that is cold again can be asked for again, and not the next day only
    return checker.end(ended["requests"])


class _Checker:
    def __init__(self, work: Work) -> None:
        self.steps = Steps(work, "restore-status-checker")
        self._work = work
        self._counts = {"completed": 0, "failed": 0, "ongoing": 0, "unseen": 0}
        self._refusal = ""

    async def check(self, found: Found) -> None:
        """Bring one request as far as it is."""
        try:
            head = await in_thread(self._work, partial(self._work.objects.head, found.request.archive_key))
        except (StoreUnavailable, Denied) as error:
            self._counts["unseen"] += 1
            self._refusal = str(error)
            return
        self._work.faults.hit("restore_looked")
        await patiently(lambda: self._record(found, head))
        self._work.faults.hit("restore_recorded")

    def end(self, expired: int) -> dict[str, int]:
        """What it came to."""
        self._counts["expired"] = expired
        if self._refusal:
            raise JobFailed(f"{self._counts['unseen']} requests could not be looked at: {self._refusal}", self._counts)
        return self._counts

    async def _record(self, found: Found, head: Head | None) -> None:
        async with self.steps.turn(found.request) as connection:
            if connection is None:
                return
            if found.is_expiring:
                await self._fail(connection, found.request, GONE)
            elif head is None:
                await self._fail(connection, found.request, "the store has no such object")
            else:
                await self._follow(connection, found.request, head)

    async def _follow(self, connection: Connection, request: RestoreRequest, head: Head) -> None:
        if head.restore is None and head.storage_class in COLD_CLASSES:
            await self._fail(connection, request, LOST)  # it was over before anybody looked
        elif head.restore is not None and head.restore.ongoing:
            await self.steps.note_checked(connection, request)
            self._counts["ongoing"] += 1
        else:
            until = head.restore.expires_at if head.restore is not None else None
            until = self._work.clock.micros() + request.days * DAY_MICROS if until is None else until  # of what never was cold
            self._counts["completed"] += await self.steps.complete(connection, request, until)

    async def _fail(self, connection: Connection, request: RestoreRequest, reason: str) -> None:
        self._counts["failed"] += await self.steps.fail(connection, request, reason)
