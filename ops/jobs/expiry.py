"""``archive-expiry``: both objects of a part go once its archive retention is over. Its hashes stay in tiles, its row in the database.

What Object Lock keeps, stays until a later run; that part is read by nobody any more. Killed anywhere, the next run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from ops import audit
from ops.db import Row, load_queries
from ops.jobs.patience import patiently
from ops.jobs.work import Work, in_thread
from ops.objects import ObjectStore
from schemas.archive import keys_key_of
from schemas.audit import Entry, Outcome

_PAGE_PARTS = 100
_BEGINNING = (0, UUID(int=0))
_ENTRY_RUNS: Final = 500
"""Of one entry of the audit: it is an event, and an event has a largest size."""


async def run(work: Work) -> dict[str, int]:
    """Remove what may go. Returns counts of parts that expired, and of those that are locked. Raises ``StoreUnavailable``."""
    expiry = _Expiry(work)
    after: tuple[int, UUID] = _BEGINNING
    while parts := await expiry.page(after):
        for part in parts:
            await work.beat()
            await expiry.expire(part)
        after = parts[-1]["archive_until"], parts[-1]["id"]
    return expiry.end()


class _Expiry:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._sql = load_queries("ops.jobs", "expiry.sql")
        self._expired = 0
        self._locked = 0
        self._metric = work.metrics.expired.labels(work.region.value)

    async def page(self, after: tuple[int, UUID]) -> list[Row]:
        """The next parts."""
        now, purges = self._work.clock.micros(), self._work.settings.purge_enabled
        return await patiently(lambda: self._work.pool.fetch(self._sql["parts_to_expire"], now, *after, purges, _PAGE_PARTS))

    async def expire(self, part: Row) -> None:
        """Remove one part, if no lock keeps it."""
        if part["expiring_at"] is None:
            await patiently(lambda: self._begin(part))
            self._work.faults.hit("expiry_recorded")
        if not await patiently(lambda: in_thread(self._work, partial(self._remove, self._work.objects, part["key"]))):
            self._locked += 1
            return
        self._work.faults.hit("expiry_removed")
        await patiently(lambda: self._work.pool.execute(self._sql["expire_part"], part["id"], self._work.clock.micros()))
        self._metric.inc()
        self._expired += 1

    def end(self) -> dict[str, int]:
        """What it came to."""
        self._work.metrics.expiry_locked.labels(self._work.region.value).set(self._locked)
        return {"parts": self._expired, "locked": self._locked}

    async def _begin(self, part: Row) -> None:
        now = self._work.clock.micros()
        async with self._work.pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(self._sql["begin_expiry"], part["id"], now) is None:
                return
            runs = await connection.fetch(self._sql["part_runs"], part["id"])
            for entry in _entries(part, runs, self._work.run_id):
                await audit.write(connection, entry, region=self._work.region, company_id=str(part["company_id"]), now=now)
            self._work.faults.hit("expiry_before_record")

    def _remove(self, objects: ObjectStore, key: str) -> bool:
        """Remove both objects, with all their versions; whether no lock keeps the events, and with them what opens them."""
        if not objects.delete(key):
            return False
        self._work.faults.hit("expiry_events_removed")
        return objects.delete(keys_key_of(key))


def _entries(part: Row, runs: Sequence[Row], run_id: str) -> Iterator[Entry]:
    """What a company reads of it; more than one entry where the part has very many workspaces."""
    for at in range(0, len(runs), _ENTRY_RUNS):
        ranges: list[dict[str, Any]] = [
            {"workspaceId": str(run["workspace_id"]), "fromSeq": run["from_seq"], "toSeq": run["to_seq"]}
            for run in runs[at : at + _ENTRY_RUNS]
        ]
        yield Entry(
            action="archive.expire",
            outcome=Outcome.SUCCESS,
            actor={"id": "archive-expiry", "type": "job"},
            trace_id=UUID(run_id).hex,
            target={"id": str(part["id"]), "type": "archive"},
            metadata={"archiveKey": part["key"], "sha256": part["sha256"].hex(), "ranges": ranges, "jobRunId": run_id},
        )
