"""An export's events, page by page, from wherever they are when they are read.

No transaction lasts longer than a page. A page tells, of the same snapshot, up to which seq events were removed: all behind that were
there, and what is not behind it is in the archive. So it does not matter when purging moves them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from api.asked import EventFilter
from api.exports.archive import PATIENCE, Archives, Run
from api.store import Store
from api.tail.frames import Told
from api.tail.matching import Matches, matcher
from ops import log
from ops.archive.parts import Part, to_part
from ops.auth import Principal
from ops.db import Row, load_queries
from ops.rows import to_stored
from schemas.event import FIRST_TIME, LAST_TIME, StoredEvent
from schemas.problems import Unavailable

PAGE_ROWS: Final = 2000
PAGE_BYTES: Final = 2 << 20
"""Of a page, but for one event that is larger."""
_WALK: Final = 20_000
"""Of how many events a page is looked for: of a rare one, none may be met."""
_PLANNING: Final = MappingProxyType(
    {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
)
_LOG = log.get(__name__)
_PLANNING_FILTERED: Final = MappingProxyType({**_PLANNING, "plan_cache_mode": "force_custom_plan"})


class EventsGone(Exception):
    """Events of the export are in neither place any more."""


class ChainBroken(Exception):
    """The database does not have what its chain says that it has: nothing that time or purging does."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some of an export's events of one workspace, in order: as rows that begin with ``EVENT_COLUMNS``, or as events of the archive."""

    workspace_id: str
    rows: Sequence[Row] = ()
    events: Sequence[StoredEvent] = ()

    def __len__(self) -> int:
        return len(self.rows) + len(self.events)

    def first(self, count: int) -> Batch:
        """The first ones of it."""
        return Batch(self.workspace_id, self.rows[:count], self.events[:count])


@dataclass(frozen=True, slots=True)
class Source:
    """Where exports are read from."""

    store: Store
    archives: Archives

    def read(self, caller: Principal, wanted: EventFilter, scope: Sequence[Run], most: int | None) -> AsyncGenerator[Batch]:
        """All events of the scope that are wanted, in order; whoever takes no more than ``most`` and one spares needless reading.

        Raises ``EventsGone``, ``ChainBroken``, ``ArchiveCold``, ``ArchiveUnreadable``, ``Unavailable``.
        """
        return _Reading(self, caller, wanted, PAGE_ROWS if most is None else min(PAGE_ROWS, most + 1)).batches(scope)


class _Reading:
    def __init__(self, source: Source, caller: Principal, wanted: EventFilter, rows: int) -> None:
        self._store = source.store
        self._archives = source.archives
        self._caller = caller
        self._wanted = wanted
        self._matches: Matches = matcher(caller.company_id, wanted)
        self._rows = PAGE_ROWS if self._matches.tokens else rows
        self._sql: Mapping[str, str] = load_queries("api.exports")
        self._is_plain = not wanted.plain and (wanted.start, wanted.end) == (FIRST_TIME, LAST_TIME + 1) and _is_any_receipt(wanted)

    async def batches(self, scope: Sequence[Run]) -> AsyncGenerator[Batch]:
        for run in scope:
            seq = run.from_seq
            while seq <= run.to_seq:
                rows, floor, next_seq = await self._patiently(run, seq)
                if floor >= seq:
                    last = min(floor, run.to_seq)
                    async with aclosing(self._archived(run.workspace_id, seq, last)) as batches:
                        async for batch in batches:
                            yield batch
                    seq = last + 1
                    continue
                if rows:
                    yield await self._worded(Batch(run.workspace_id, rows))
                seq = next_seq

    async def _patiently(self, run: Run, seq: int) -> tuple[list[Row], int, int]:
        for seconds in PATIENCE:
            try:
                return await self._page(run, seq)
            except Unavailable:
                await asyncio.sleep(seconds)
        return await self._page(run, seq)

    async def _page(self, run: Run, seq: int) -> tuple[list[Row], int, int]:
        """Rows from ``seq`` on, up to which seq events are removed, and where the next page begins."""
        caller, last = self._caller, min(run.to_seq, seq + (self._rows if self._is_plain else _WALK) - 1)
        asked = (caller.company_id, run.workspace_id, seq, last, self._rows, PAGE_BYTES)
        planning = _PLANNING if self._is_plain else _PLANNING_FILTERED
        async with self._store.reading_for(caller, "export_page", planning) as connection:
            if self._is_plain:
                rows = await connection.fetch(self._sql["page"], *asked)
            else:
                rows = await connection.fetch(self._sql["filtered_page"], *asked, self._wanted.event_filter())
        floor: int = rows[-1]["floor"]
        if rows[-1]["seq"] is None:
            rows = [*rows[:-1]]
        is_cut = bool(rows) and (len(rows) == self._rows or rows[-1]["summed"] >= PAGE_BYTES)
        end: int = rows[-1]["seq"] if is_cut else last
        if self._is_plain and floor < seq:
            self._check_whole(run, rows, seq, end)
        return rows, floor, end + 1

    def _check_whole(self, run: Run, rows: Sequence[Row], seq: int, end: int) -> None:
        """What nothing is left out of has every event from ``seq`` to ``end``. Numbers are there once, so counting will do."""
        if len(rows) != end - seq + 1:
            _LOG.critical(
                "a chain has a hole", company=self._caller.company_id, workspace=run.workspace_id, seq=seq, to_seq=end, found=len(rows)
            )
            raise ChainBroken(f"{len(rows)} events of workspace {run.workspace_id} between seq {seq} and {end}")

    async def _worded(self, batch: Batch) -> Batch:
        """Those that have the words that are asked for. No column has them; reading takes long, so not on the loop."""
        if not self._matches.tokens:
            return batch
        return await asyncio.to_thread(self._with_words, batch)

    def _with_words(self, batch: Batch) -> Batch:
        events = [to_stored(row, self._caller.region) for row in batch.rows]
        return Batch(batch.workspace_id, events=[event for event in events if self._passes(event)])

    async def _archived(self, workspace_id: str, first: int, last: int) -> AsyncGenerator[Batch]:
        """What is wanted of a run of events that are not in the database any more."""
        seq = first
        while seq <= last:
            found, data_key = await self._part(workspace_id, seq)
            if found is None:
                raise EventsGone
            part, is_expiring, to_seq = found
            run = Run(workspace_id, seq, min(to_seq, last))
            if self._may_hold(part):
                if is_expiring:
                    raise EventsGone
                test = None if self._is_plain and not self._matches.tokens else self._passes
                async with aclosing(self._archives.events(self._caller, part, data_key, run, test)) as blocks:
                    async for events in blocks:
                        yield Batch(workspace_id, events=events)
            seq = run.to_seq + 1

    async def _part(self, workspace_id: str, seq: int) -> tuple[tuple[Part, bool, int] | None, bytes]:
        """The part that the event is in, whether it is about to go, and up to which seq it has the workspace's; and what opens it."""
        async with self._store.reading_for(self._caller, "export_part") as connection:
            row = await connection.fetchrow(self._sql["part_of"], self._caller.company_id, workspace_id, seq)
            if row is None or row["to_seq"] < seq or not row["is_archived"]:
                return None, b""
            return (to_part(row), row["is_expiring"], row["to_seq"]), await self._archives.data_key(connection, self._caller)

    def _may_hold(self, part: Part) -> bool:
        """Whether anything that is asked for can be in it."""
        wanted = self._wanted
        return (
            part.occurred_from < wanted.end
            and part.occurred_to >= wanted.start
            and (wanted.received_start is None or part.received_to >= wanted.received_start)
            and (wanted.received_end is None or part.received_from < wanted.received_end)
        )

    def _passes(self, event: StoredEvent) -> bool:
        return self._matches(Told(event, 0))


def _is_any_receipt(wanted: EventFilter) -> bool:
    return wanted.received_start is None and wanted.received_end is None
