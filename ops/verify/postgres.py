"""Walking every chain of a region in Postgres: one ordered scan, one snapshot, flat memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from ops.db import Connection, Row, load_queries
from ops.verify.check import Walk, explain, first_bad
from ops.verify.ranges import RangeWalk
from ops.verify.report import Report
from schemas.chain import Finding, Head, verify_head
from schemas.topics import Region

# Small enough that a page waits in the socket's buffers while the one before is checked.
_PAGE_ROWS = 400
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)
_BEFORE_ALL_SEQS = -(2**63)
_workspace_of = itemgetter(7)

Advance = Callable[[int], None]


class Auditor:
    """One run over a region, or over one of its workspaces."""

    def __init__(self, connection: Connection, region: Region, report: Report, workspace: UUID | None = None) -> None:
        """The connection is one of ``db.open_pool`` (times in microseconds) whose role reads events, heads and sources."""
        self._connection = connection
        self._region = region
        self._report = report
        self._first, self._last = (_FIRST, _LAST) if workspace is None else (workspace, workspace)
        self._sql = load_queries("ops.verify")
        self._walk: Walk | None = None
        self._bad: UUID | None = None
        self._ended: list[Walk] = []
        self._floors: dict[UUID, Row] = {}

    async def run(self, begin: Callable[[int], Advance]) -> None:
        """Walk; what is wrong goes to the report. ``begin`` gets the expected count of events, and what it returns each page's."""
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            bounds = (self._first, self._last)
            advance = begin(await self._connection.fetchval(self._sql["expected_events"], *bounds))
            async for page in self._pages():
                for workspace, rows in groupby(page, _workspace_of):
                    self._check(workspace, list(rows))
                advance(len(page))
            self._end()
            await self._compare_heads()
            for row in await self._connection.fetch(self._sql["ends_without_events"], *bounds):
                self._take_purged(row)
            await self._check_ranges()
            for row in await self._connection.fetch(self._sql["floors_without_range"], *bounds):
                self._report.add(Finding(str(row[0]), row[1], "floor", f"is {row[1]}, which no range of the archive holds"))
            for row in await self._connection.fetch(self._sql["beyond_source"], *bounds):
                self._report.add(Finding(str(row[0]), row[1], "source_offset", "is a place that the ingest topic's reader has not reached"))

    async def _pages(self) -> AsyncIterator[list[Row]]:
        """Pages in chain order. The server fetches the next one while the caller checks the one it got."""
        page = await self._fetch(self._first, _BEFORE_ALL_SEQS)
        while page:
            following = asyncio.ensure_future(self._fetch(page[-1][7], page[-1][0]))
            await asyncio.sleep(0)  # lets the request leave before this thread is busy
            try:
                yield page
            finally:
                page = await following
            if self._ended:
                await self._compare_heads()

    async def _fetch(self, workspace: UUID, seq: int) -> list[Row]:
        """The rows behind that place, and the floors of the chains that begin in them."""
        page = await self._connection.fetch(self._sql["page"], workspace, seq, self._last, _PAGE_ROWS)
        begun = {row[7] for row in page} - ({workspace} if seq > _BEFORE_ALL_SEQS else set())
        if begun:
            self._floors |= {row["workspace_id"]: row for row in await self._connection.fetch(self._sql["floors"], list(begun))}
        return page

    def _check(self, workspace: UUID, rows: list[Row]) -> None:
        if workspace == self._bad:
            return
        if self._walk is None or self._walk.workspace_id != workspace:
            self._end()
            self._walk = self._begin(workspace, rows[0][6])
            self._report.workspaces += 1
        before = self._walk.seq
        bad = first_bad(self._walk, rows)
        self._report.events += self._walk.seq - before
        if bad is not None:
            self._refuse(explain(self._walk, bad))

    def _begin(self, workspace: UUID, company: UUID) -> Walk:
        """A chain begins with seq 1, or behind the last event that was purged."""
        floor = self._floors.pop(workspace, None)
        if floor is None:
            return Walk(self._region.value, workspace, company)
        if floor["company_id"] != company:
            message = f"is {floor['company_id']}, the events' is {company}"
            self._report.add(Finding(str(workspace), floor["seq"], "floor.company_id", message))
        return Walk(self._region.value, workspace, company, floor["seq"], floor["hash"], floor["archive_day"])

    def _take_purged(self, row: Row) -> None:
        """A chain without an event in the table: all was purged, and the floor is the head; or events are gone."""
        head, floor = _end(row, ""), _end(row, "floor_")
        self._report.workspaces += head == floor
        self._report.add(_compare_purged(str(row["workspace_id"]), head, floor))

    async def _check_ranges(self) -> None:
        walk = RangeWalk()
        workspace, seq = self._first, _BEFORE_ALL_SEQS
        while rows := await self._connection.fetch(self._sql["ranges"], workspace, seq, self._last, _PAGE_ROWS):
            for finding in walk.check(rows):
                self._report.add(finding)
            workspace, seq = rows[-1]["workspace_id"], rows[-1]["from_seq"]

    def _refuse(self, finding: Finding) -> None:
        """Note the chain's first bad event. What comes behind it hangs in the air and is not looked at."""
        self._report.add(finding)
        self._bad = self._walk.workspace_id if self._walk else None
        self._walk = None

    def _end(self) -> None:
        if self._walk is not None:
            self._ended.append(self._walk)
            self._walk = None

    async def _compare_heads(self) -> None:
        ended = {walk.workspace_id: walk for walk in self._ended}
        self._ended = []
        for row in await self._connection.fetch(self._sql["heads"], list(ended)):
            self._report.add(_compare(ended.pop(row["workspace_id"]), row))
        for walk in ended.values():
            self._report.add(Finding(str(walk.workspace_id), walk.seq, "head", "the chain has events and no head"))


def _compare(walk: Walk, row: Row) -> Finding | None:
    workspace = str(walk.workspace_id)
    finding = verify_head(workspace, Head(walk.seq, walk.hash), Head(row["seq"], row["hash"]))
    if finding is None and row["company_id"] != walk.company_id:
        return Finding(workspace, walk.seq, "head.company_id", f"is {row['company_id']}, the events' is {walk.company_id}")
    if finding is None and row["archive_day"] != walk.archive_day:
        return Finding(
            workspace, walk.seq, "head.archive_day", f"is day {row['archive_day']} since 1970, the events' is {walk.archive_day}"
        )
    return finding


class _End(NamedTuple):
    """A head, or a floor."""

    seq: int
    hash: bytes
    company_id: UUID
    archive_day: int


def _end(row: Row, prefix: str) -> _End | None:
    return None if row[f"{prefix}seq"] is None else _End(*(row[f"{prefix}{name}"] for name in _End._fields))


def _compare_purged(workspace: str, head: _End | None, floor: _End | None) -> Finding | None:
    if head is None:
        return Finding(workspace, floor.seq if floor else 1, "head", "the chain has a floor and no head")
    if floor is None:
        return Finding(workspace, 1, "seq", f"all {head.seq} events of the chain are gone")
    if floor.seq < head.seq:
        return Finding(workspace, floor.seq + 1, "seq", f"all {head.seq - floor.seq} events behind the floor are gone")
    if floor != head:
        differing = next(name for name in _End._fields if getattr(floor, name) != getattr(head, name))
        return Finding(workspace, head.seq, "floor", f"is not the head, though no event is left: {differing} differs")
    return None
