"""``retention-marking``: what is older than its hot retention becomes ranges and parts, and is sent to the archive sink.

A company's day is one transaction. Two of these at work make one tiling: ranges that another one has made already break a key, and the
company is looked at again. Events are not scanned: where a day ends is found by halving, and only of a day around a change of the
company's terms are times of receipt read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

from ops import log
from ops.db import Connection, is_unavailable, load_queries, sqlstate
from ops.jobs.sending import send_waiting
from ops.jobs.work import JobFailed, LeaseLost, Work
from schemas import ids
from schemas.archive import ArchiveRange, day_start
from schemas.marking import PlannedPart, Run, day_end, due, hot_until, joined, may_differ, parts, runs, terms_of, unarchived
from schemas.retention import DAY_MICROS, History, Terms

_LOG = log.get(__name__)
_PAGE_COMPANIES = 500
_PAGE_WORKSPACES = 1000
_PAGE_RECEIPTS = 10_000
_TOLD_COMPANIES = 20
_FIRST = UUID(int=0)
_HOUR_MICROS = 3_600_000_000
_MOST_CONFLICTS = 100
"""A marker beside this one is as fast; more of them in a row are a fault of ours."""
_MADE_ALREADY = ("23505", "23503")
"""SQLSTATEs of a range or part that another one has made, and of one that would not join on to the last one any more."""


class _Standing(NamedTuple):
    """A workspace's first event that is not marked, and the last one that there is."""

    workspace_id: str
    kind: str
    seq: int
    day: date | None
    """Of its archive; ``None`` when the event is not there."""
    head: int


class _Edges(NamedTuple):
    """A run's hashes: the one before it, its first and its last."""

    before: bytes
    first: bytes
    last: bytes


async def run(work: Work) -> dict[str, int]:
    """Mark all that is due and send it. Returns counts of events, ranges, parts and sent parts.

    Raises ``JobFailed`` when workspaces are broken: events of theirs are missing, and nothing is marked behind these; and when a company
    could not be marked: the others are, all the same.
    """
    counts = Counter(dict.fromkeys(("events", "ranges", "parts", "broken"), 0))
    failed: list[str] = []
    now = work.clock.micros()
    marking = _Marking(work, now, counts)
    after = _FIRST
    while companies := await marking.companies(after):
        for company in companies:
            await work.beat()
            try:
                await marking.mark(company)
            except Exception as error:  # whatever is wrong with one company
                if is_unavailable(error) or isinstance(error, LeaseLost):
                    raise
                _LOG.exception("a company could not be marked", company=str(company))
                failed.append(f"{company} ({type(error).__name__})")
        after = companies[-1]
    done = {**counts, "sent": await send_waiting(work, now)}
    if counts["broken"]:
        raise JobFailed(f"events of {counts['broken']} workspaces are missing: `hyrelog verify` says which", done)
    if failed:
        raise JobFailed(f"{len(failed)} companies could not be marked: {', '.join(failed[:_TOLD_COMPANIES])}", done)
    return done


class _Marking:
    def __init__(self, work: Work, now: int, counts: Counter[str]) -> None:
        self._work = work
        self._now = now
        self._counts = counts
        self._sql = load_queries("ops.jobs", "marking.sql")

    async def companies(self, after: UUID) -> list[UUID]:
        """The next ones."""
        async with self._work.pool.acquire() as connection:
            return [row[0] for row in await connection.fetch(self._sql["companies"], after, _PAGE_COMPANIES)]

    async def mark(self, company: UUID) -> None:
        """All of a company's days that are due."""
        async with self._work.pool.acquire() as connection:
            rows = await connection.fetch(self._sql["history"], company)
            history = History([(row[0], Terms(*row[1:])) for row in rows])
            page = _Page(self._work, connection, company, history, self._now, self._counts)
            after: UUID | None = _FIRST
            while after is not None:
                after = await page.mark(after)


class _Page:
    """Some workspaces of a company, marked day by day."""

    def __init__(self, work: Work, connection: Connection, company: UUID, history: History, now: int, counts: Counter[str]) -> None:
        self._work = work
        self._connection = connection
        self._company = company
        self._history = history
        self._now = now
        self._counts = counts
        self._sql = load_queries("ops.jobs", "marking.sql")
        # As long before its archive day an event may have been received: the ingest topic keeps it for so long, and a day for clocks.
        self._late = work.settings.topic_retention_hours * _HOUR_MICROS + DAY_MICROS
        self._conflicts = 0
        """In a row."""

    async def mark(self, after: UUID) -> UUID | None:
        """All that is due of the workspaces behind ``after``, as many as make a page; the last of them, if there are any."""
        done: set[str] = set()
        last: UUID | None = None
        while True:
            rows = await self._connection.fetch(self._sql["standing"], self._company, after, _PAGE_WORKSPACES)
            standing = [
                each for each in (_Standing(str(row[0]), *row[1:]) for row in rows) if last is None or UUID(each.workspace_id) <= last
            ]
            last = last or (rows[-1][0] if rows else None)
            left = [each for each in standing if each.workspace_id not in done]
            if not left:
                return last
            if missing := [each.workspace_id for each in left if each.day is None]:
                done |= self._broken(missing)
                continue
            await self._work.beat()
            day = min(each.day for each in left if each.day is not None)
            todays = [each for each in left if each.day == day]
            ready = [each for each in todays if self._may_be_due(each, day)]
            done |= {each.workspace_id for each in todays} - {each.workspace_id for each in ready}
            if ready:
                done |= await self._mark_day(day, ready)

    def _may_be_due(self, each: _Standing, day: date) -> bool:
        if day_end(day) > self._now:
            return False
        return may_differ(self._history, day, self._late) or hot_until(day, terms_of(self._history, each.kind, day_start(day))) <= self._now

    def _broken(self, workspaces: Collection[str]) -> set[str]:
        """Tell of workspaces whose events are missing; the same."""
        for workspace_id in workspaces:
            _LOG.critical("events are missing: nothing is marked behind them", region=self._work.region, workspace_id=workspace_id)
        self._counts["broken"] += len(workspaces)
        return set(workspaces)

    async def _mark_day(self, day: date, ready: Sequence[_Standing]) -> set[str]:
        """Mark what is due of a day; the workspaces of which the rest has to wait."""
        waiting: set[str] = set()
        found: list[Run] = []
        ends = await self._day_ends(day, ready)
        broken = {each.workspace_id for each in ready} - ends.keys()
        for each in ready:
            if each.workspace_id in broken:
                continue
            runs_of_day = await self._runs(each, day, ends[each.workspace_id])
            are_due = list(due(runs_of_day, day, self._now))
            if len(are_due) < len(runs_of_day):
                waiting.add(each.workspace_id)
            found += are_due
        edges: dict[Run, _Edges] = {}
        while True:
            planned = parts(found, day, self._work.settings.archive_part_rows)
            missing = await self._add_edges(edges, [*found, *(run for part in planned for run in part.runs)])  # parts may cut runs
            if not missing:
                break
            broken |= missing
            found = [run for run in found if run.events.workspace_id not in broken]
        await self._write(day, planned, found, edges)
        return waiting | self._broken(broken)

    async def _add_edges(self, edges: dict[Run, _Edges], pieces: Sequence[Run]) -> set[str]:
        """Look up the edges of runs that have none yet; the workspaces whose events are missing there."""
        edges.update(await self._edges([run for run in pieces if run not in edges]))
        return {run.events.workspace_id for run in pieces if run not in edges}

    async def _day_ends(self, day: date, ready: Sequence[_Standing]) -> dict[str, int]:
        workspaces, firsts, heads = [each.workspace_id for each in ready], [each.seq for each in ready], [each.head for each in ready]
        rows = await self._connection.fetch(self._sql["day_ends"], workspaces, firsts, heads, day)
        return {str(row[0]): row[1] for row in rows}  # where events are missing, halving ends nowhere

    async def _runs(self, each: _Standing, day: date, last: int) -> list[Run]:
        if not may_differ(self._history, day, self._late):
            terms = terms_of(self._history, each.kind, day_start(day))
            return [Run(ArchiveRange(each.workspace_id, each.seq, last), terms)]
        found: list[Run] = []
        at = each.seq - 1
        while rows := await self._connection.fetch(self._sql["receipts"], each.workspace_id, at, last, _PAGE_RECEIPTS):
            found = joined(found, runs(self._history, each.kind, each.workspace_id, ((row[0], row[1]) for row in rows)))
            at = rows[-1][0]
        return found

    async def _edges(self, found: Sequence[Run]) -> dict[Run, _Edges]:
        """The hashes at the ends of runs, without those runs whose events are missing."""
        places = [(run.events.workspace_id, seq) for run in found for seq in (run.events.from_seq, run.events.to_seq)]
        rows = await self._connection.fetch(self._sql["edges"], [place[0] for place in places], [place[1] for place in places])
        hashes = {(str(row[0]), row[1]): (row[2], row[3]) for row in rows}
        edges = {}
        for run in found:
            first, last = (hashes.get((run.events.workspace_id, seq)) for seq in (run.events.from_seq, run.events.to_seq))
            if first is not None and last is not None:
                edges[run] = _Edges(*first, last[1])
        return edges

    async def _write(self, day: date, planned: Sequence[PlannedPart], found: Sequence[Run], edges: Mapping[Run, _Edges]) -> None:
        """In one transaction; nothing when another one was faster: what he has made is seen at the next look."""
        try:
            async with self._connection.transaction():
                count = await self._insert(day, planned, unarchived(found), edges)
                self._work.faults.hit("marking_before_commit")
        except Exception as error:
            self._conflicts += 1
            if sqlstate(error) not in _MADE_ALREADY or self._conflicts > _MOST_CONFLICTS:
                raise
            return
        self._conflicts = 0
        self._work.faults.hit("marking_committed")
        self._counts.update(events=sum(run.rows for run in found), ranges=count, parts=len(planned))

    async def _insert(self, day: date, planned: Sequence[PlannedPart], kept_nowhere: Sequence[Run], edges: Mapping[Run, _Edges]) -> int:
        """The day's parts and ranges; how many of the latter."""
        last: int = await self._connection.fetchval(self._sql["last_part"], self._company, day)
        ranges: list[tuple[Run, str | None]] = [(run, None) for run in kept_nowhere]
        for number, part in enumerate(planned, last + 1):
            part_id = ids.uuid7(self._now, os.urandom(ids.RANDOM_BYTES))
            described = (part.rows, part.kept.archive_until, part.kept.cold_after_days)
            await self._connection.execute(self._sql["insert_part"], part_id, self._company, day, number, *described, self._now)
            ranges += [(run, part_id) for run in part.runs]
        columns = [(*run.events, *edges[run], hot_until(day, run.terms), part_id) for run, part_id in ranges]
        if columns:
            await self._connection.execute(
                self._sql["insert_ranges"], *map(list, zip(*columns, strict=True)), self._company, day, self._now
            )
        return len(columns)
