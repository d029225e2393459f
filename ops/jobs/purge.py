"""``purge``: events leave the hot table once their hot retention is over and, where their plan has an archive, that is verified.

Range by range in the order of seq: the hashes go to tiles, then the company's AUDIT workspace is told in the transaction from which on
the range may be purged, then the rows go in batches with rests between them. That nothing goes which must not is guarded by the database's
own function; here is only asked. Killed anywhere, the next run goes on from where the rows say.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from ops import audit, log
from ops.db import Connection, Row, load_queries, sqlstate
from ops.jobs.patience import patiently
from ops.jobs.work import JobFailed, Work, in_thread
from ops.tiles import Tree, WrongTile, write_tiles
from schemas.archive import keys_key_of
from schemas.audit import Entry, Outcome
from schemas.merkle import HASH_BYTES

_LOG = log.get(__name__)
_PAGE_WORKSPACES = 500
_PAGE_HASHES = 32 * 256
_FIRST = UUID(int=0)
_GUARD = "55000"
"""SQLSTATE of purge_events() for what must not be purged."""


class NotAsMarked(Exception):
    """A range's rows are not those that were marked."""


@dataclass(frozen=True, slots=True)
class _Range:
    """A row of ``next_to_purge``."""

    workspace_id: UUID
    from_seq: int
    to_seq: int
    company_id: UUID
    first_prev_hash: bytes
    last_hash: bytes
    hot_until: int
    tiled_at: int | None
    purging_at: int | None
    key: str | None
    size: int | None
    keys_size: int | None
    may_go: bool


async def run(work: Work) -> dict[str, int]:
    """Purge what may go. Returns counts of events, ranges, and of workspaces that wait, by what they wait for.

    Raises ``JobFailed`` when something was not as it should be: those workspaces keep their events, the others were purged.
    """
    if not work.settings.purge_enabled:
        return {"events": 0, "ranges": 0}
    purge = _Purge(work)
    after = _FIRST
    while workspaces := await purge.page(after):
        for workspace in workspaces:
            await purge.workspace(workspace)
        after = workspaces[-1]
    return purge.end()


class _Purge:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._sql = load_queries("ops.jobs", "purge.sql")
        self._counts: Counter[str] = Counter(events=0, ranges=0)
        self._refused = 0
        self._seen: str | None = None
        """The last part whose objects were seen to be there."""
        self._purged = work.metrics.purged.labels(work.region.value)

    async def page(self, after: UUID) -> list[UUID]:
        """The next workspaces."""
        rows = await patiently(
            lambda: self._work.pool.fetch(self._sql["workspaces_to_purge"], self._work.clock.micros(), after, _PAGE_WORKSPACES)
        )
        return [row["workspace_id"] for row in rows]

    async def workspace(self, workspace: UUID) -> None:
        """Purge all of a workspace that may go. Another one's trouble is none of the next one's."""
        try:
            while await self._next(workspace):
                self._counts["ranges"] += 1
        except (NotAsMarked, WrongTile) as error:
            self._refuse(workspace, str(error))
        except Exception as error:
            if sqlstate(error) != _GUARD:
                raise
            self._refuse(workspace, "the database refuses: what is recorded of the range, its archive or its rows does not allow it")

    def end(self) -> dict[str, int]:
        """What it came to."""
        self._work.metrics.purge_refused.labels(self._work.region.value).set(self._refused)
        if self._refused:
            counts = {**self._counts, "refused": self._refused}
            raise JobFailed(f"{self._refused} workspaces keep their events: see the log", counts)
        return dict(self._counts)

    def _refuse(self, workspace: UUID, reason: str) -> None:
        self._refused += 1
        _LOG.critical("a workspace is not purged any further", region=self._work.region, workspace=workspace, reason=reason)

    async def _next(self, workspace: UUID) -> bool:
        """Purge the workspace's next range; whether that was done, and to its end."""
        await self._work.beat()
        row = await self._fetchrow("next_to_purge", workspace)
        if row is None:
            return False
        found = _Range(**dict(row))
        if found.hot_until > self._work.clock.micros():
            return False
        if not found.may_go:
            self._counts["waiting_verification"] += 1
            return False
        if found.purging_at is None:
            await self._look(found)
        if found.tiled_at is None:
            await self._write_tiles(found)
        if found.purging_at is None:
            await patiently(lambda: self._begin(found))
            self._work.faults.hit("purge_recorded")
        return await self._remove(found)

    async def _look(self, found: _Range) -> None:
        """Whether its archive, verified some time ago, is still there. Raises ``NotAsMarked``. Once for the ranges of a part in a row."""
        if found.key is None or found.key == self._seen:
            return
        for key, size in ((found.key, found.size), (keys_key_of(found.key), found.keys_size)):
            head = await patiently(partial(in_thread, self._work, partial(self._work.objects.head, key)))
            if head is None or head.size != size:
                raise NotAsMarked(f"{key} is not there any more as it was verified")
        self._seen = found.key

    async def _write_tiles(self, found: _Range) -> None:
        tree = Tree(self._work.objects, str(found.company_id), str(found.workspace_id))
        try:
            await patiently(lambda: write_tiles(tree, found.from_seq, found.first_prev_hash, self._hashes(found)))
        except NotAsMarked:
            if await self._is_tiled(found):  # by a run that lost its lease, which removes rows already
                return
            raise
        self._work.faults.hit("purge_tiles_written")
        await self._execute("note_tiled", found.workspace_id, found.from_seq, self._work.clock.micros())

    async def _is_tiled(self, found: _Range) -> bool:
        row = await self._fetchrow("tiled_at", found.workspace_id, found.from_seq)
        return row is not None and row["tiled_at"] is not None

    async def _hashes(self, found: _Range) -> AsyncIterator[bytes]:
        """Pages of a range's hashes. Raises ``NotAsMarked``."""
        before = found.first_prev_hash
        for first in range(found.from_seq, found.to_seq + 1, _PAGE_HASHES):
            await self._work.beat()
            last = min(first + _PAGE_HASHES - 1, found.to_seq)
            (row,) = await self._work.pool.fetch(self._sql["hashes"], found.workspace_id, first, last, before)
            if row["events"] != last - first + 1:
                raise NotAsMarked(f"of seqs {first} to {last}, {row['events']} are there")
            before = row["hashes"][-HASH_BYTES:]
            if not row["linked"] or (last == found.to_seq and before != found.last_hash):
                raise NotAsMarked(f"the chain is broken within seqs {first} to {last}, or does not end as it was marked")
            yield row["hashes"]

    async def _begin(self, found: _Range) -> None:
        """Tell the company, and let the database purge the range: both or neither."""
        now = self._work.clock.micros()
        async with self._work.pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(self._sql["begin_purge"], found.workspace_id, found.from_seq, now) is None:
                return
            region, company = self._work.region, str(found.company_id)
            await audit.write(connection, _entry(found, self._work.run_id), region=region, company_id=company, now=now)
            self._work.faults.hit("purge_before_record")

    async def _remove(self, found: _Range) -> bool:
        """Remove the range's rows; whether all are gone."""
        began = self._work.clock.monotonic()
        while (row := await patiently(lambda: self._batch(found))) is not None:
            if row["waits_for"] is not None:
                self._counts[f"waiting_{row['waits_for'].lower()}"] += 1
                return False
            self._work.faults.hit("purge_batch_done")
            self._counts["events"] += row["removed"]
            self._purged.inc(row["removed"])
            await self._work.beat()
            await self._rest(self._work.clock.monotonic() - began)
            began = self._work.clock.monotonic()
        return True

    async def _batch(self, found: _Range) -> Row | None:
        """One transaction; ``None`` when the range has no rows any more. Asked anew each time: an answer to a COMMIT may be lost."""
        async with self._work.pool.acquire() as connection:
            if await self._is_gone(connection, found):
                return None
            try:
                size = self._work.settings.purge_batch_rows
                return await connection.fetchrow(self._sql["purge_batch"], found.workspace_id, found.from_seq, size)
            except Exception as error:
                if sqlstate(error) == _GUARD and await self._is_gone(connection, found):  # a run that lost its lease was at it too
                    return None
                raise

    async def _is_gone(self, connection: Connection, found: _Range) -> bool:
        floor = await connection.fetchval(self._sql["floor"], found.workspace_id)
        return floor is not None and bool(floor >= found.to_seq)

    async def _rest(self, worked: float) -> None:
        """So long that the time worked is its share of the whole: ingest has the database to itself meanwhile."""
        share = self._work.settings.purge_share
        await asyncio.sleep(max(0.0, worked) * (1 - share) / share)

    async def _fetchrow(self, query: str, *arguments: Any) -> Row | None:
        return await patiently(lambda: self._work.pool.fetchrow(self._sql[query], *arguments))

    async def _execute(self, query: str, *arguments: Any) -> None:
        await patiently(lambda: self._work.pool.execute(self._sql[query], *arguments))


def _entry(found: _Range, run_id: str) -> Entry:
    """What a company reads of a purge: enough to prove, with the tiles, that this is what was there."""
    return Entry(
        action="events.purge",
        outcome=Outcome.SUCCESS,
        actor={"id": "purge", "type": "job"},
        trace_id=UUID(run_id).hex,
        target={"id": str(found.workspace_id), "type": "workspace"},
        metadata={
            "workspaceId": str(found.workspace_id),
            "fromSeq": found.from_seq,
            "toSeq": found.to_seq,
            "firstPrevHash": found.first_prev_hash.hex(),
            "lastHash": found.last_hash.hex(),
            "archiveKey": found.key,
            "jobRunId": run_id,
        },
    )
