"""A dispatcher's one door to its tables: what is due, whose it is, and how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from ops import db, log
from ops.db import Connection, Pool, Row, load_queries
from ops.rows import to_stored
from schemas.event import StoredEvent
from schemas.topics import Region
from schemas.webhooks import NOTICES, Filters, Kind
from sinks.webhooks.model import MAX_ATTEMPTS, Delivery, Disabled, Endpoint, Result

_LOG = log.get(__name__)
_STATEMENT_SECONDS = 15.0
_LOCK_SECONDS = 5.0
_IDLE_SECONDS = 10.0
_ACQUIRE_SECONDS = 5.0
_PAGE = 500
"""Endpoints looked at in one go."""


class Standing(NamedTuple):
    """An endpoint that has something to be sent, the first of it in so many seconds."""

    endpoint: Endpoint
    due_in: float


class Page(NamedTuple):
    """Endpoints that have something to be sent, and the id behind which there may be more."""

    standings: list[Standing]
    after: UUID | None


class Claimed(NamedTuple):
    """Deliveries that are this process's now, and of how many the dispatcher before had died."""

    deliveries: list[Delivery]
    lapsed: int


class Stopped(NamedTuple):
    """An endpoint that was just disabled."""

    id: str
    company_id: str


class Ledger:
    """The webhook tables of one region. Methods that take a connection work in the caller's transaction."""

    def __init__(self, region: Region, pool: Pool) -> None:
        self._region = region
        self._pool = pool
        self._sql = load_queries("sinks.webhooks")

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed when the block ends, rolled back when it raises."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            yield connection

    async def lanes(self, after: UUID) -> Page:
        """The next endpoints, in the order of ids, that have anything to be sent."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["lanes"], after, _PAGE)
        standings = [Standing(to_endpoint(row), row["due_in"]) for row in rows if row["id"] is not None]
        return Page(standings, rows[-1]["place"] if len(rows) == _PAGE else None)

    async def claim(self, rooms: Mapping[str, int], *, lease: float, now: float) -> Claimed:
        """Claim what is due to these endpoints, so many each, for ``lease`` seconds. ``now`` is monotonic."""
        async with self._connection() as connection, connection.transaction():
            rows = await connection.fetch(self._sql["claim"], list(rooms), list(rooms.values()), lease, MAX_ATTEMPTS)
            events = await self._events(connection, {(row["workspace_id"], row["seq"]) for row in rows if row["seq"] is not None})
        made = [_claimed(row, events, now) for row in rows]
        return Claimed(made, sum(row["lapsed"] for row in rows))

    async def _events(self, connection: Connection, places: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], StoredEvent]:
        if not places:
            return {}
        rows = await connection.fetch(self._sql["events_at"], *map(list, zip(*places, strict=True)))
        return {(row["workspace_id"], row["seq"]): event for row in rows if (event := self._event(row)) is not None}

    def _event(self, row: Row) -> StoredEvent | None:
        """``None`` for one that can't be read: its own deliveries fail, the others are made."""
        try:
            return to_stored(row, self._region)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one row
            _LOG.error("an event can't be read", workspace=str(row["workspace_id"]), seq=row["seq"], error=type(error).__name__)
            return None

    async def settle(self, connection: Connection, results: Sequence[Result], now: float) -> int:
        """Record attempts that ended; how many were still this process's. ``now`` is monotonic."""
        rows = [_settled(result, now) for result in results]
        tag = await connection.execute(self._sql["settle"], *map(list, zip(*rows, strict=True)))
        return int(tag.rpartition(" ")[2])

    async def give_back(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        """Let anybody have what was not begun."""
        rows = [(each.webhook_id, each.id, each.kind.value, each.attempt) for each in deliveries]
        await connection.execute(self._sql["give_back"], *map(list, zip(*rows, strict=True)))

    async def end_unwanted(self, webhook_ids: Sequence[str], limit: int) -> int:
        """Give up what is due to disabled and deleted endpoints, ``limit`` of each at most; how many there were."""
        async with self._connection() as connection:
            tag = await connection.execute(self._sql["end_unwanted"], webhook_ids, limit)
        return int(tag.rpartition(" ")[2])

    async def note_health(self, connection: Connection, *, failing: Collection[str], well: Collection[str]) -> None:
        """Remember since when endpoints fail."""
        if failing:
            await connection.execute(self._sql["note_failing"], list(failing))
        if well:
            await connection.execute(self._sql["note_well"], list(well))

    async def disable(
        self, connection: Connection, endpoints: Collection[Endpoint], reason: Disabled, failing_for: float | None = None
    ) -> list[Stopped]:
        """Disable those that are enabled, still lead to where they did, and have failed for more than so many seconds."""
        asked = {(each.id, each.url, each.from_seq) for each in endpoints}
        columns = map(list, zip(*asked, strict=True))
        rows = await connection.fetch(self._sql["disable"], *columns, reason.value, failing_for)
        return [Stopped(str(row["id"]), str(row["company_id"])) for row in rows]

    async def is_replaying(self) -> bool:
        """Whether any replay is under way."""
        async with self._connection() as connection:
            found: bool = await connection.fetchval(self._sql["is_replaying"])
        return found

    async def notify(self) -> None:
        """Have all dispatchers look for what is due."""
        async with self._connection() as connection:
            await connection.execute(self._sql["notify_dispatchers"], NOTICES)

    async def backlog(self, limit: int) -> int:
        """How many deliveries are to be made, counted up to ``limit``."""
        async with self._connection() as connection:
            count: int = await connection.fetchval(self._sql["backlog"], limit)
        return count

    async def days(self, keep: int) -> None:
        """Make the attempts' next partitions, drop those older than ``keep`` days."""
        async with self._connection() as connection:
            await connection.execute(self._sql["days"], keep)


async def open_ledger_pool(url: str, region: Region, connections: int) -> Pool:
    """A dispatcher's connections. Opens even while the database is away."""
    timeouts = db.Timeouts(statement=_STATEMENT_SECONDS, lock=_LOCK_SECONDS, idle_in_transaction=_IDLE_SECONDS)
    return await db.open_pool(
        url,
        application_name="hyrelog-webhooks-dispatcher",
        region=region,
        max_size=connections,
        timeouts=timeouts,
        parameters=db.BY_INDEX,
    )


def to_endpoint(row: Row) -> Endpoint:
    """The endpoint of a row of ``webhook``."""
    return Endpoint(
        id=str(row["id"]),
        company_id=str(row["company_id"]),
        workspace_id=str(row["workspace_id"]),
        project_id=None if row["project_id"] is None else str(row["project_id"]),
        url=row["url"],
        events=tuple(row["events"]),
        filters=_filters(row),
        from_seq=row["from_seq"],
        enabled=row["enabled"],
        deleted=row["deleted"],
        failing=row["failing"],
        secret=row["secret"],
        previous_secret=row["previous_secret"],
    )


def _filters(row: Row) -> Filters:
    """None where they are of no kind that is known here: rather too much is told than too little, and the others are told as ever."""
    try:
        return Filters.parse(orjson.loads(row["filters"]))
    except ValueError:
        _LOG.error("filters can't be read", webhook=str(row["id"]))
        return Filters()


def _claimed(row: Row, events: Mapping[tuple[UUID, int], StoredEvent], now: float) -> Delivery:
    return Delivery(
        webhook_id=str(row["webhook_id"]),
        id=str(row["id"]),
        kind=Kind(row["kind"]),
        attempt=row["attempt"],
        failures=row["failures"],
        event=events.get((row["workspace_id"], row["seq"])),
        claimed_at=now,
    )


def _settled(result: Result, now: float) -> tuple[Any, ...]:
    delivery, ended_ago = result.delivery, now - result.ended
    return (
        delivery.webhook_id,
        delivery.id,
        delivery.kind.value,
        delivery.attempt,
        result.failures,
        None if result.pause is None else max(0.0, result.pause - ended_ago),
        now - result.began,
        round((result.ended - result.began) * 1000) if result.sent else None,
        result.state.value,
        result.status,
        None if result.error is None else result.error.value,
        result.body_hash,
    )
