"""Writing a part: both objects in one pass over its rows, in flat memory, and its row when both are there.

The content is a function of the part's rows and its company's data key alone. So whoever finds an object there already, of a process
that was killed or of somebody who works beside him, compares what it unzips to, and goes on. What is there and is not ours is never
touched: the part gets another number, and the operator an alarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ops import log
from ops.clock import Clock
from ops.faults import FaultPoints
from ops.objects import AlreadyThere, Lock, ObjectStore
from ops.settings import Settings
from schemas.archive import COLD_TAG, ArchiveRange, Blocks, events_key, keys_key
from schemas.event import StoredEvent
from schemas.retention import DAY_MICROS
from sinks.archive.existing import Existing, moved, read_existing
from sinks.archive.gauge import ArchiveMetrics
from sinks.archive.handle import MarkedRange, PartContent, Piece, Written
from sinks.archive.store import PAGE_ROWS, ArchiveStore, Marked

_LOG = log.get(__name__)
_LEAST_LOCK_MICROS = 3_600_000_000


class Out(Protocol):
    """Where the bytes of an object go."""

    def write(self, data: bytes) -> None:
        """The next bytes."""

    def finish(self) -> None:
        """The object is there when this returns. Raises ``AlreadyThere`` when there is one of that name."""

    def abort(self) -> None:
        """There is to be no object; nothing happens once it is finished."""


class _Nowhere:
    """For an object that is there already."""

    def write(self, data: bytes) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def abort(self) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class _Outs:
    events: Out
    keys: Out

    def write(self, piece: Piece) -> None:
        self.events.write(piece.events)
        self.keys.write(piece.keys)

    def abort(self) -> None:
        self.events.abort()
        self.keys.abort()


class Writer:
    """Archives parts of one region, one at a time."""

    def __init__(
        self, settings: Settings, store: ArchiveStore, objects: ObjectStore, *, clock: Clock, metrics: ArchiveMetrics, faults: FaultPoints
    ) -> None:
        self._settings = settings
        self._store = store
        self._objects = objects
        self._clock = clock
        self._metrics = metrics
        self._faults = faults

    async def archive(self, part_id: str) -> bool:
        """Write the part and record it; ``False`` when it was archived before, or there is none.

        Raises ``NotAsMarked`` and what the stores raise while they are away.
        """
        marked = await self._store.part(part_id)
        if marked is None or marked.is_archived:
            return False
        ranges = await self._store.ranges(part_id)
        data_key = await self._store.data_key(marked.company_id)
        began = self._clock.monotonic()
        while not await self._write(marked, ranges, data_key):
            self._metrics.conflict()
            _LOG.critical("the name of a part is taken by something else", part=part_id, key=_name(marked))
            await self._store.renumber(part_id, marked.part)
            again = await self._store.part(part_id)
            if again is None or again.is_archived:
                return False
            marked = again
        self._metrics.archived(marked.row_count, self._clock.monotonic() - began)
        return True

    async def _write(self, marked: Marked, ranges: Sequence[MarkedRange], data_key: bytes) -> bool:
        """Whether both objects are there and ours, and the part stands as archived."""
        name, keys_name = _name(marked), keys_key(marked.company_id, marked.archive_day, marked.part)
        while True:
            existing = await asyncio.to_thread(self._look, name), await asyncio.to_thread(self._look, keys_name)
            outs = _Outs(self._out(name, existing[0], self._lock(marked), _tags(marked)), self._out(keys_name, existing[1], None, {}))
            content = PartContent(name, data_key, ranges)
            try:
                await self._pass(content, ranges, outs)
                written = content.events.written(), content.keys.written()
                if not all(_is_same(found, ours) for found, ours in zip(existing, written, strict=True)):
                    return False
                await self._finish(outs)
            except AlreadyThere:  # somebody finished it meanwhile: look at it
                continue
            finally:
                await asyncio.to_thread(outs.abort)
            return await self._record(marked, name, content, existing)

    async def _pass(self, content: PartContent, ranges: Sequence[MarkedRange], outs: _Outs) -> None:
        outs.write(content.begin())
        async for events in self._pages([marked.run for marked in ranges]):
            await asyncio.to_thread(_encode, content, events, outs)
            self._faults.hit("archive_page_written")
        await asyncio.to_thread(_encode_end, content, outs)

    async def _pages(self, runs: Sequence[ArchiveRange]) -> AsyncIterator[list[StoredEvent]]:
        """The events of all runs in order. The next page is fetched while this one is encoded."""
        left = list(reversed(runs))
        following = asyncio.ensure_future(self._store.page(_first(left)))
        try:
            while left:
                events = await following
                if not events:
                    return  # the content says what is missing
                _pass_over(left, events)
                if left:
                    following = asyncio.ensure_future(self._store.page(_first(left)))
                yield events
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _finish(self, outs: _Outs) -> None:
        await asyncio.to_thread(outs.events.finish)
        self._faults.hit("archive_events_written")
        await asyncio.to_thread(outs.keys.finish)
        self._faults.hit("archive_keys_written")

    async def _record(self, marked: Marked, name: str, content: PartContent, existing: tuple[Existing | None, Existing | None]) -> bool:
        events, keys = existing
        blocks = moved(content.blocks, events and events.places, keys and keys.places)
        if blocks is None:
            return False
        written = events.written if events else content.events.written(), keys.written if keys else content.keys.written()
        index = Blocks(blocks, written[0].size, written[1].size)
        await self._store.record(marked.id, name, content, *written, index, self._clock.micros())
        self._faults.hit("archive_recorded")
        return True

    def _look(self, key: str) -> Existing | None:
        """What is there under that name; of uploads that nobody ends any more, nothing is left."""
        self._objects.abandon_uploads(key)
        if self._objects.head(key) is None:
            return None
        return read_existing(self._objects, key) or Existing(Written(0, b"", b""), ())

    def _out(self, key: str, existing: Existing | None, lock: Lock | None, tags: dict[str, str]) -> Out:
        if existing is not None:
            return _Nowhere()
        storage_class = "STANDARD" if key.endswith(".keys.gz") else self._settings.archive_storage_class
        return self._objects.upload_new(key, tags=tags, storage_class=storage_class, lock=lock)

    def _lock(self, marked: Marked) -> Lock | None:
        mode, days = self._settings.archive_lock_mode, self._settings.archive_lock_days
        if mode is None:
            return None
        until = self._clock.micros() + days * DAY_MICROS if days else marked.archive_until
        # Stores refuse a lock that is over; what is past its retention already, or nearly, is to go and needs none.
        return Lock(mode, until) if until > self._clock.micros() + _LEAST_LOCK_MICROS else None


def _name(marked: Marked) -> str:
    return events_key(marked.company_id, marked.archive_day, marked.part)


def _tags(marked: Marked) -> dict[str, str]:
    return {} if marked.cold_after_days is None else {COLD_TAG: str(marked.cold_after_days)}


def _is_same(existing: Existing | None, ours: Written) -> bool:
    return existing is None or existing.written.content_sha256 == ours.content_sha256


def _encode(content: PartContent, events: Sequence[StoredEvent], outs: _Outs) -> None:
    for piece in content.add(events):
        outs.write(piece)


def _encode_end(content: PartContent, outs: _Outs) -> None:
    for piece in content.end():
        outs.write(piece)


def _first(left: Sequence[ArchiveRange]) -> list[ArchiveRange]:
    """As many of the runs, which stand last first, as make a page: small ones share a statement."""
    chosen: list[ArchiveRange] = []
    rows = 0
    for run in reversed(left):
        chosen.append(run)
        rows += run.to_seq - run.from_seq + 1
        if rows >= PAGE_ROWS:
            break
    return chosen


def _pass_over(left: list[ArchiveRange], events: Sequence[StoredEvent]) -> None:
    """Take away what a page had."""
    last = events[-1]
    while left and left[-1].workspace_id != last.workspace_id:
        left.pop()
    while left and left[-1].to_seq <= last.seq and left[-1].workspace_id == last.workspace_id:
        left.pop()
    if left and left[-1].workspace_id == last.workspace_id and left[-1].from_seq <= last.seq:
        left[-1] = left[-1]._replace(from_seq=last.seq + 1)
