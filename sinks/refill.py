"""From Postgres, what the topic does not have: the holes of a workspace, or all that a partition's workspaces lack.

The events table holds everything that was ever announced, so a sink that was away for longer than the topic keeps its
records, or is new, loses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

from schemas.event import StoredEvent
from sinks.store import REFILL_ALL, SinkStore

_PAGE_EVENTS = 200
"""An event may be as large as 128 KiB."""
_PAGE_WORKSPACES = 1000

Following = tuple[StoredEvent, int]
"""A stored event, and the seq before it of which nothing lies between the two in Postgres."""
Take = Callable[[Sequence[Following]], Awaitable[None]]


@dataclass(slots=True)
class Missing:
    """A workspace of which the sink may lack events up to ``last``."""

    workspace_id: str
    last: int
    after: int | None = None
    """Up to here it was looked at; ``None``: not yet begun."""


class Refill:
    """Refills one partition, a page at a time, so that what is announced meanwhile gets its turn."""

    def __init__(self, store: SinkStore[Any], take: Take, is_ours: Callable[[str], bool]) -> None:
        """``take`` stores events, and has stored them when it returns; ``is_ours`` tells the partition's workspaces."""
        self._store = store
        self._take = take
        self._is_ours = is_ours
        self._queue: deque[Missing] = deque()
        self._reached = REFILL_ALL

    def forget(self) -> None:
        """Begin anew, wherever ``step`` is told to."""
        self._queue.clear()

    async def fill(self, missing: Missing) -> None:
        """All that is stored of a workspace and that the sink lacks."""
        while not await self._page(missing):
            pass

    async def step(self, after: UUID) -> UUID | None:
        """A page of what the workspaces behind ``after`` lack. Returns where to go on: the same place until the sink has
        all of the workspaces before the next one, ``None`` when no workspace is left.
        """
        if self._queue:
            if await self._page(self._queue[0]):
                self._queue.popleft()
            return after if self._queue else self._reached
        async with self._store.transaction() as connection:
            looked_at = await self._store.workspaces_after(connection, after, _PAGE_WORKSPACES)
        if not looked_at:
            return None
        late = [each for each in looked_at if each.taken < each.stored and self._is_ours(each.id)]
        self._queue.extend(Missing(each.id, each.stored) for each in late)
        self._reached = UUID(looked_at[-1].id)
        return after if self._queue else self._reached

    async def _page(self, missing: Missing) -> bool:
        """Take the next events; whether it was the last page."""
        async with self._store.transaction() as connection:
            if missing.after is None:
                heads = await self._store.heads(connection, [missing.workspace_id])
                missing.after = heads.get(missing.workspace_id, 0)
            events = await self._store.events_after(connection, missing.workspace_id, missing.after, missing.last, _PAGE_EVENTS)
        if events:
            seqs = [missing.after, *(event.seq for event in events)]
            await self._take([(event, before) for event, (before, _) in zip(events, pairwise(seqs), strict=True)])
            missing.after = events[-1].seq
        return len(events) < _PAGE_EVENTS
