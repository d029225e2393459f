"""Events that are to be sent again: put into ``webhook_due`` page by page, so that a large replay delays nothing else for long."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from ops.clock import Clock
from ops.db import Connection, Row, load_queries
from ops.rows import to_stored
from schemas.event import StoredEvent
from schemas.topics import Region
from schemas.webhooks import delivery_id
from sinks.webhooks.ledger import Ledger, to_endpoint
from sinks.webhooks.model import Endpoint

_PAGE = 200
_ENOUGH_SOON, _ENOUGH = 1000, 10_000
"""Deliveries that an endpoint has to come, within a minute and in all, before no more of a replay's are put behind them."""
_UNDER_WAY_SECONDS = 1.0
"""So long a replay is left alone that has met an attempt under way: to read its next page over and over would end nothing sooner."""
_FIRST = UUID(int=0)


class _Replay(NamedTuple):
    """What is to be sent again to an endpoint, and the place it has come to. One of the three ranges is set."""

    id: UUID
    webhook_id: UUID
    workspace_id: UUID
    from_at: int | None
    to_at: int | None
    from_seq: int | None
    to_seq: int | None
    event_ids: list[UUID] | None
    after_at: int | None
    after_seq: int


class Replays:
    """Works on a region's replays; several may, each on another endpoint's."""

    def __init__(self, ledger: Ledger, region: Region, clock: Clock) -> None:
        self._ledger = ledger
        self._region = region
        self._clock = clock
        self._left_alone: dict[UUID, float] = {}
        """Replays, and until when (monotonic)."""
        self._sql = load_queries("sinks.webhooks")
        self._after = _FIRST
        self.is_waiting = False
        """Where there was nothing to do: whether a replay is under way that can't go on yet."""

    async def turn(self) -> int | None:
        """A page of the next replay, in one transaction: how many deliveries it made due; ``None`` when there was nothing to do."""
        self.is_waiting = await self._ledger.is_replaying()
        if not self.is_waiting:
            return None
        now = self._clock.monotonic()
        self._left_alone = {replay: until for replay, until in self._left_alone.items() if until > now}
        async with self._ledger.transaction() as connection:
            row = await connection.fetchrow(self._sql["next_replay"], self._after, _ENOUGH_SOON, _ENOUGH, list(self._left_alone))
            if row is None:
                has_begun_anew, self._after = self._after == _FIRST, _FIRST
                return None if has_begun_anew else 0
            replay = _Replay(*row)
            self._after = replay.webhook_id
            return await self._page(connection, replay)

    async def _page(self, connection: Connection, replay: _Replay) -> int:
        row = await connection.fetchrow(self._sql["endpoint"], replay.webhook_id)
        endpoint = None if row is None else to_endpoint(row)
        if endpoint is None or not endpoint.enabled:
            await connection.execute(self._sql["move_replay"], replay.id, "CANCELLED", 0, replay.after_at, replay.after_seq)
            return 0
        events = [to_stored(each, self._region) for each in await self._events(connection, replay)]
        state = "RUNNING" if len(events) == _PAGE else "DONE"
        wanted = {delivery_id(endpoint.id, each.id, each.received_at): each for each in events if endpoint.wants(each)}
        stop = await self._first_under_way(connection, endpoint, wanted)
        if stop is not None:
            state, events = "RUNNING", events[: events.index(stop)]
            self._left_alone[replay.id] = self._clock.monotonic() + _UNDER_WAY_SECONDS
        ready = dict(takewhile(lambda item: item[1] is not stop, wanted.items()))
        await self._make_due(connection, endpoint, ready)
        place = (events[-1].timestamp, events[-1].seq) if events else (replay.after_at, replay.after_seq)
        await connection.execute(self._sql["move_replay"], replay.id, state, len(ready), *place)
        return len(ready)

    async def _first_under_way(self, connection: Connection, endpoint: Endpoint, wanted: Mapping[str, StoredEvent]) -> StoredEvent | None:
        """The event that the page ends before: its turn comes when the attempt under way has ended."""
        await connection.execute(self._sql["hold_waiting"], endpoint.id, list(wanted))
        under_way = {str(row["id"]) for row in await connection.fetch(self._sql["under_way"], endpoint.id, list(wanted))}
        return next((event for key, event in wanted.items() if key in under_way), None)

    async def _events(self, connection: Connection, replay: _Replay) -> list[Row]:
        workspace = replay.workspace_id
        if replay.event_ids is not None:
            return await connection.fetch(self._sql["events_by_id"], workspace, replay.event_ids, replay.after_seq, _PAGE)
        if replay.from_seq is not None:
            after = max(replay.from_seq - 1, replay.after_seq)
            return await connection.fetch(self._sql["events_after"], workspace, after, replay.to_seq, _PAGE)
        place = (replay.from_at, replay.to_at, replay.after_at, replay.after_seq)
        return await connection.fetch(self._sql["events_by_time"], workspace, *place, _PAGE)

    async def _make_due(self, connection: Connection, endpoint: Endpoint, ready: Mapping[str, StoredEvent]) -> None:
        if ready:
            rows = [(key, each.company_id, each.workspace_id, each.seq, each.id) for key, each in ready.items()]
            await connection.execute(self._sql["replay_due"], endpoint.id, *map(list, zip(*rows, strict=True)))
