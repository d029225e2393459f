"""Reading what is stored behind a position, page by page, and saying what is no longer there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from api.asked import EventFilter
from api.store import Store
from api.tail.frames import Told
from api.tail.merging import Key, Most, merged
from api.tail.position import Place, Position
from api.tail.progress import Progress
from ops.auth import Principal
from ops.db import Connection, load_queries
from ops.rows import to_stored
from schemas.topics import Region, ingest_topic

Begin = Position | int | None
"""Behind a position; or from a time of receipt on (microseconds); or now."""

_PLANNING: Final = MappingProxyType({"plan_cache_mode": "force_custom_plan", "enable_seqscan": "off", "enable_bitmapscan": "off"})
_PAGE: Final = Most(keys=5000, events=200, size=1 << 20)
_FEW = 4
"""When filters let pass less than one in so many, the next page looks at as many keys as it may."""
_LAST_INDEX = 2**31 - 1
_LATE = 3_600_000_000
"""Microseconds. An event may be stored behind one that was received later, but hardly by an hour."""


class Head(NamedTuple):
    """A workspace's newest event: its seq, and when it was stored."""

    seq: int
    updated_at: int


class Standing(NamedTuple):
    """In one snapshot: the next offset of each partition, and each workspace's head."""

    ends: Mapping[int, int]
    heads: Mapping[str, Head]


class Seen(NamedTuple):
    """The next event, and what it says if it is asked for."""

    key: Key
    told: Told | None


class Gap(NamedTuple):
    """Events of a workspace that are not there any more, from one seq to another; ``is_missed``: and they were not seen before."""

    workspace_id: str
    first: int
    last: int
    is_missed: bool


class Since(NamedTuple):
    """A beginning in time. Of what was stored then (``heads``: seqs by workspace) it leaves out what was received before it.

    Within a workspace that does not rise strictly with seq: several ingests have several clocks, and an outbox waits.
    """

    time: int | None
    heads: Mapping[str, int]

    def admits(self, key: Key) -> bool:
        """Whether the event is told, as far as that goes."""
        return self.time is None or key.received_at >= self.time or key.seq > self.heads.get(key.workspace_id, 0)


class Page(NamedTuple):
    """Steps in their order. ``is_last``: nothing more was stored then; ``ends`` is where each partition stood."""

    steps: list[Seen | Gap]
    is_last: bool
    ends: Mapping[int, Place]


@dataclass(frozen=True, slots=True)
class Stored:
    """The regions' stored events, as tails read them. ``partition_of`` tells a workspace's; ``gates`` are how many read at a time."""

    store: Store
    partition_of: Callable[[str], int]
    gates: Mapping[Region, asyncio.Semaphore]
    sql: Mapping[str, str]

    @classmethod
    def of(cls, store: Store, partition_of: Callable[[str], int], readers: int) -> Stored:
        """With the package's own queries, and so many ``readers`` a region."""
        return cls(store, partition_of, {region: asyncio.Semaphore(readers) for region in Region}, load_queries("api.tail"))

    def reading_for(self, caller: Principal) -> AbstractAsyncContextManager[Connection]:
        """A transaction of the caller's in turn. Raises ``Unavailable``."""
        return self.store.reading_for(caller, "tail", _PLANNING, self.gates[caller.region])


class CatchUp:
    """One client's way from where it begins to what is stored now. It moves ``progress`` to the beginning, its caller from there on."""

    def __init__(self, stored: Stored, caller: Principal, wanted: EventFilter, begin: Begin, progress: Progress) -> None:
        self.progress = progress
        self._stored = stored
        self._caller = caller
        self._wanted = wanted
        self._begin: Begin = begin
        self._standing: Standing | None = None
        """What is being caught up to. Only a page that found it itself is the last one: what is newer is not behind anybody's mark."""
        self._most_keys = _PAGE.events
        self._since = Since(None, {})
        self._seen: dict[str, int] = {}
        """Up to which seq, by workspace, nothing that is gone is missed: it was seen, or lies before the beginning."""

    async def begin(self) -> None:
        """Fix the beginning: what is stored from now on is behind it. Raises ``Unavailable``."""
        async with self._stored.reading_for(self._caller) as connection:
            await self._start(connection, await self._stand(connection))

    async def page(self) -> Page:
        """What comes next, once begun. Raises ``Unavailable``."""
        async with self._stored.reading_for(self._caller) as connection:
            is_fresh = self._standing is None
            standing = self._standing = self._standing or await self._stand(connection)
            behind = {name: head.seq for name, head in standing.heads.items() if head.seq > self.progress.seqs.get(name, 0)}
            keys, is_all = await self._next(connection, behind)
            told = await self._events(connection, keys)
        self._most_keys = _PAGE.keys if len(told) * _FEW < len(keys) else _PAGE.events
        if not is_all:
            return Page(list(self._steps(keys, told, {})), is_last=False, ends={})
        self._standing = None
        return Page(list(self._steps(keys, told, behind)), is_fresh, self._ends(standing))

    async def _next(self, connection: Connection, behind: Mapping[str, int]) -> tuple[list[Key], bool]:
        """The page's keys, and whether they are the last ones up to ``behind``."""
        limit = max(1, min(self._most_keys, _PAGE.keys // max(1, len(behind))))
        keys, is_all = merged(await self._keys(connection, behind, limit), limit)
        page = _PAGE.cut(keys, self._is_asked)
        return page, is_all and len(page) == len(keys)

    async def _stand(self, connection: Connection) -> Standing:
        caller = self._caller
        rows = await connection.fetch(
            self._stored.sql["tail_standing"], caller.company_id, caller.workspace_id, ingest_topic(caller.region)
        )
        ends = {row["partition"]: row["at"] for row in rows if row["workspace_id"] is None}
        heads = {str(row["workspace_id"]): Head(row["at"], row["updated_at"]) for row in rows if row["workspace_id"] is not None}
        return Standing(ends, heads)

    def _ends(self, standing: Standing) -> dict[int, Place]:
        """The last place of each partition that there is an event in."""
        ends = standing.ends
        partitions = map(self._stored.partition_of, standing.heads)
        return {partition: (ends[partition] - 1, _LAST_INDEX) for partition in partitions if partition in ends}

    async def _start(self, connection: Connection, standing: Standing) -> None:
        begin, progress, heads = self._begin, self.progress, standing.heads
        if begin is None:
            progress.seqs = {name: head.seq for name, head in heads.items()}
        elif isinstance(begin, int):
            self._since = Since(begin, {name: head.seq for name, head in heads.items()})
            self._seen = {name: head.seq for name, head in heads.items() if head.updated_at < begin}
            progress.start_at(self._ends(standing))
            await self._start_since(connection, heads, begin)
        else:
            progress.time, progress.places = begin.time, dict(begin.places)
            await self._resume(connection, heads, begin)

    async def _start_since(self, connection: Connection, heads: Mapping[str, Head], time: int) -> None:
        """Each workspace at its first event received then or later; each partition in front of the first of these, or at its end."""
        early = await self._floors(connection, heads, dict.fromkeys(heads, (0, 0)), time - _LATE)
        columns = (list(heads), [early.get(name, 0) for name in heads], [head.seq for head in heads.values()])
        for name, floor, offset, index in await connection.fetch(self._stored.sql["tail_firsts"], self._caller.company_id, *columns, time):
            self.progress.seqs[str(name)] = floor
            if offset is not None:
                partition, place = self._stored.partition_of(str(name)), _in_front((offset, index))
                self.progress.places[partition] = min(place, self.progress.places.get(partition, place))

    async def _resume(self, connection: Connection, heads: Mapping[str, Head], begin: Position) -> None:
        if self._caller.workspace_id is not None:
            self.progress.seqs = {self._caller.workspace_id: begin.seq}
            return
        self._seen = {name: head.seq for name, head in heads.items() if head.updated_at + _LATE <= begin.time}
        partition_of = self._stored.partition_of
        places = {name: begin.places[partition_of(name)] for name in heads if partition_of(name) in begin.places}
        self.progress.seqs = await self._floors(connection, heads, places, None)

    async def _floors(
        self, connection: Connection, heads: Mapping[str, Head], places: Mapping[str, Place], time: int | None
    ) -> dict[str, int]:
        """The last seq up to its place, or received before the time, of each workspace that a place is given for."""
        columns = ([heads[name].seq for name in places], *([place[part] for place in places.values()] for part in (0, 1)))
        rows = await connection.fetch(self._stored.sql["tail_floors"], self._caller.company_id, list(places), *columns, time)
        return {str(row["workspace_id"]): row["seq"] for row in rows}

    async def _keys(self, connection: Connection, behind: Mapping[str, int], limit: int) -> list[Key]:
        if not behind:
            return []
        floors = [self.progress.seqs.get(name, 0) for name in behind]
        asked = (list(behind), floors, list(behind.values()), self._wanted.event_filter(), limit)
        rows = await connection.fetch(self._stored.sql["tail_keys"], self._caller.company_id, *asked)
        return [Key(str(name), seq, partition, (offset, index), *rest) for name, seq, partition, offset, index, *rest in rows]

    async def _events(self, connection: Connection, keys: list[Key]) -> dict[tuple[str, int], Told]:
        asked = [key for key in keys if self._is_asked(key)]
        if not asked:
            return {}
        which = ([key.workspace_id for key in asked], [key.seq for key in asked])
        rows = await connection.fetch(self._stored.sql["tail_events"], self._caller.company_id, *which)
        events = [to_stored(row, self._caller.region) for row in rows]
        partition_of = self._stored.partition_of
        return {(event.workspace_id, event.seq): Told(event, partition_of(event.workspace_id)) for event in events}

    def _steps(self, keys: list[Key], told: Mapping[tuple[str, int], Told], heads: Mapping[str, int]) -> Iterator[Seen | Gap]:
        """The keys with their events; in front of each, and of the ``heads`` that are reached, what is missing."""
        last = dict(self.progress.seqs)
        for key in keys:
            yield from self._missing(key.workspace_id, last.get(key.workspace_id, 0) + 1, key.seq - 1)
            last[key.workspace_id] = key.seq
            found = told.get((key.workspace_id, key.seq))
            if found is None and self._is_asked(key):  # gone since we saw its key
                yield Gap(key.workspace_id, key.seq, key.seq, is_missed=True)
            yield Seen(key, found)
        for name, seq in heads.items():
            yield from self._missing(name, last.get(name, 0) + 1, seq)

    def _missing(self, workspace_id: str, first: int, last: int) -> Iterator[Gap]:
        if first <= last:
            is_told = self._wanted.workspace_id in (None, workspace_id)
            yield Gap(workspace_id, first, last, is_told and last > self._seen.get(workspace_id, 0))

    def _is_asked(self, key: Key) -> bool:
        return key.is_asked and self._wanted.workspace_id in (None, key.workspace_id) and self._since.admits(key)


def _in_front(place: Place) -> Place:
    offset, index = place
    return (offset, index - 1) if index else (offset - 1, _LAST_INDEX)
