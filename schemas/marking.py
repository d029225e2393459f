"""Which events leave the hot table together: a workspace's archive day as runs, runs as parts (ops/docs/archive.md). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from schemas.archive import ArchiveRange, day_start
from schemas.retention import History, Terms

MOST_RANGES: Final = 5000
"""Of one part: its record on the archive topic has to stay below a Kafka broker's 1 MiB."""


@dataclass(frozen=True, slots=True)
class Run:
    """Events of one workspace and archive day that are kept alike."""

    events: ArchiveRange
    terms: Terms

    @property
    def rows(self) -> int:
        """How many."""
        return self.events.to_seq - self.events.from_seq + 1


class Kept(NamedTuple):
    """What a part's events have in common: when it may be removed (microseconds), and after how many days it goes cold."""

    archive_until: int
    cold_after_days: int | None


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part to be made, of runs in the order of its lines."""

    kept: Kept
    runs: tuple[Run, ...]

    @property
    def rows(self) -> int:
        """How many events."""
        return sum(run.rows for run in self.runs)


def day_end(day: date) -> int:
    """The first microsecond after the day."""
    return day_start(day + timedelta(days=1))


def hot_until(day: date, terms: Terms) -> int:
    """When the hot retention of all events of that archive day is over."""
    return terms.hot_until(day_end(day))


def terms_of(history: History, kind: str, received_at: int) -> Terms:
    """The terms of an event of a workspace of that kind."""
    terms = history.at(received_at)
    return terms.of_audit() if kind == "AUDIT" else terms


def may_differ(history: History, day: date, late: int) -> bool:
    """Whether events of that archive day, which may have been received ``late`` microseconds before it, may be under different terms."""
    return history.changes_within(day_start(day) - late, day_end(day))


def runs(history: History, kind: str, workspace_id: str, received: Iterable[tuple[int, int]]) -> Iterator[Run]:
    """The runs of events that are given in order as (seq, time of receipt)."""
    for terms, alike in groupby(((seq, terms_of(history, kind, at)) for seq, at in received), key=lambda pair: pair[1]):
        seqs = [seq for seq, _ in alike]
        yield Run(ArchiveRange(workspace_id, seqs[0], seqs[-1]), terms)


def joined(before: Sequence[Run], more: Iterable[Run]) -> list[Run]:
    """The runs of two stretches of a workspace's events, the second one right behind the first."""
    found = list(before)
    for run in more:
        if found and found[-1].terms == run.terms:
            workspace_id, first, _ = found[-1].events
            found[-1] = Run(ArchiveRange(workspace_id, first, run.events.to_seq), run.terms)
        else:
            found.append(run)
    return found


def due(found: Iterable[Run], day: date, now: int) -> Iterator[Run]:
    """Those at the beginning whose hot retention is over: what comes behind one that is not must wait for it."""
    for run in found:
        if hot_until(day, run.terms) > now:
            return
        yield run


def parts(found: Iterable[Run], day: date, most_rows: int) -> list[PlannedPart]:
    """The parts of a company's day, of the runs that are archived at all.

    In one part each workspace has one stretch of its chain: a line that was dropped is seen in the object alone.
    """
    archived = [(kept, run) for run in found if (kept := _kept(run.terms, day)) is not None]
    archived.sort(key=lambda pair: (pair[0].archive_until, pair[0].cold_after_days or 0, pair[1].events))
    return [
        PlannedPart(kept, tuple(chosen))
        for kept, alike in groupby(archived, key=lambda pair: pair[0])
        for chosen in _cut([run for _, run in alike], most_rows)
    ]


def unarchived(found: Iterable[Run]) -> list[Run]:
    """Those that go without an archive."""
    return [run for run in found if run.terms.archive_days is None]


def _kept(terms: Terms, day: date) -> Kept | None:
    until = terms.archive_until(day_end(day))
    return None if until is None else Kept(until, terms.cold_after_days)


def _cut(found: Sequence[Run], most_rows: int) -> Iterator[list[Run]]:
    chosen: list[Run] = []
    room = most_rows
    for run in sorted(found, key=attrgetter("events")):
        left = run
        if chosen and chosen[-1].events.workspace_id == run.events.workspace_id and chosen[-1].events.to_seq + 1 != run.events.from_seq:
            yield chosen
            chosen, room = [], most_rows
        while left.rows > room:
            if room:
                head, left = _split(left, room)
                chosen.append(head)
            yield chosen
            chosen, room = [], most_rows
        chosen.append(left)
        room -= left.rows
        if len(chosen) == MOST_RANGES:
            yield chosen
            chosen, room = [], most_rows
    if chosen:
        yield chosen


def _split(run: Run, rows: int) -> tuple[Run, Run]:
    workspace_id, first, last = run.events
    middle = first + rows
    return Run(ArchiveRange(workspace_id, first, middle - 1), run.terms), Run(ArchiveRange(workspace_id, middle, last), run.terms)
