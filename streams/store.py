"""What the chain worker writes and reads in its region's Postgres. Every writing method takes the chunk's own connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

import asyncpg

from ops import db
from ops.db import Connection, Pool
from ops.rows import to_stored
from schemas.chain import START, Head
from schemas.event import StoredEvent
from schemas.topics import Region, ingest_topic
from streams import copyrow
from streams.keys import First, Key
from streams.sequence import Alias, ChainEnd, HeadMove, Keyed, Place, Refusal, Rejection

_STATEMENT_SECONDS = 30.0
_LOCK_SECONDS = 5.0
_IDLE_SECONDS = 10.0
_PATIENCE_SECONDS = 3.0
"""How long the owner of a partition waits for its row before it ends who holds it."""
_ACQUIRE_SECONDS = 5.0
_SIDE_CONNECTIONS = 2
# Constraints whose violation means that the stored state contradicts itself, not that an event is bad.
_INTEGRITY = ("events_pkey", "events_source", "chain_head_pkey", "rejected_pkey", "event_key_pkey")


class Verdict(Enum):
    """What an error while storing a chunk means."""

    RETRY = "retry"
    BAD_DATA = "bad data"
    CONTRADICTION = "contradiction"


class Moved(Exception):
    """A head or the source was not where this process believed: roll back, drop the cache, read again."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a partition of the ingest topic stands. Positions are Kafka offsets plus ``offset_base``."""

    topic_id: UUID
    offset_base: int
    next_offset: int
    announced: int
    parked_reason: str | None


def judge(error: BaseException) -> Verdict:
    """What to do about an error: by SQLSTATE class, as design.md says. What is unknown is tried again: nothing is dropped."""
    if isinstance(error, asyncpg.UniqueViolationError) and (error.constraint_name or "").startswith(_INTEGRITY):
        return Verdict.CONTRADICTION
    state = db.sqlstate(error) or ""
    # The driver raises plain errors for values it can't encode: a ValueError of its own, or an overflow.
    if state.startswith(("22", "23", "54")) or isinstance(error, (asyncpg.DataError, ValueError, OverflowError)):
        return Verdict.BAD_DATA
    return Verdict.RETRY


class Store:
    """One region's database, in the chain writer's role.

    Housekeeping has a pool of its own: to end a frozen backend takes a connection while others wait for what it holds.
    """

    def __init__(self, region: Region, pool: Pool, side: Pool) -> None:
        self._topic = ingest_topic(region)
        self._region = region
        self._pool = pool
        self._side = side
        self._sql = db.load_queries("streams")

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed when the block ends, rolled back when it raises."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection, connection.transaction():
            yield connection

    async def ensure_source(self, partition: int, topic_id: UUID) -> None:
        """Make the row of a partition that was never seen."""
        async with self._side.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            await connection.execute(self._sql["ensure_source"], self._topic, partition, topic_id)

    async def sources(self) -> dict[int, Source]:
        """Where the partitions stand, by number, without locking them."""
        async with self._side.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            rows = await connection.fetch(self._sql["read_sources"], self._topic)
        return {row["partition"]: Source(*row[1:]) for row in rows}

    async def lock_source(self, connection: Connection, partition: int) -> tuple[Source, int]:
        """Take the partition's row lock; also how many frozen backends had to be ended for it."""
        lock = asyncio.ensure_future(connection.fetchrow(self._sql["lock_source"], self._topic, partition))
        ended = 0
        try:
            done, _ = await asyncio.wait({lock}, timeout=_PATIENCE_SECONDS)
            if not done:
                ended = await self._terminate_blockers(connection.get_server_pid())
            row = await lock
        except BaseException:
            lock.cancel()
            await asyncio.wait({lock})  # else the ROLLBACK to come would find the connection busy
            raise
        if row is None:
            raise Moved("the source row is missing")
        return Source(*row), ended

    async def _terminate_blockers(self, pid: int) -> int:
        async with self._side.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            return len(await connection.fetch(self._sql["terminate_blockers"], pid))

    async def lock_heads(self, connection: Connection, workspaces: Sequence[str]) -> dict[str, ChainEnd]:
        """The heads of those workspaces that have one, locked in one order."""
        rows = await connection.fetch(self._sql["lock_heads"], workspaces)
        return {str(row[0]): ChainEnd(Head(row[1], row[2]), row[3]) for row in rows}

    async def copy(self, connection: Connection, rows: Sequence[bytes]) -> None:
        """Store events, encoded by ``copyrow``."""
        if rows:
            source = copyrow.stream(rows)
            await connection.copy_to_table("events", source=source, columns=copyrow.COLUMNS, format="binary", timeout=_STATEMENT_SECONDS)

    async def known(self, connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, bytes]]:
        """The workspace and commitments of those of the ids that are stored already."""
        return {str(row[0]): (str(row[1]), row[2]) for row in await connection.fetch(self._sql["known_events"], ids)}

    async def keys(self, connection: Connection, keys: Collection[Key]) -> dict[Key, First]:
        """What those of the keys stand for that stand for an event."""
        rows = await connection.fetch(self._sql["settled_keys"], *_columns(keys))
        return {(str(row[0]), row[1].encode()): First(row[2], str(row[3]), row[4]) for row in rows}

    async def settle(self, connection: Connection, partition: int, keys: Mapping[Key, Keyed], aliases: Sequence[Alias]) -> None:
        """What keys stand for from now on, and the events that repeat others."""
        if keys:
            companies = [each.company_id for each in keys.values()]
            firsts = [each.first for each in keys.values()]
            columns = ([first.seq for first in firsts], [first.event_id for first in firsts], [first.content for first in firsts])
            await connection.execute(self._sql["insert_keys"], *_columns(keys), companies, *columns)
        if aliases:
            rows = [
                (a.id, a.company_id, a.workspace_id, a.first.seq, a.first.event_id, partition, *a.place, a.received_at) for a in aliases
            ]
            await connection.executemany(self._sql["insert_alias"], rows)

    async def move_heads(self, connection: Connection, moves: Mapping[str, HeadMove]) -> None:
        """Advance heads by compare-and-set, begin new ones. Raises ``Moved`` when one is not where the chunk began."""
        begun = {workspace: move for workspace, move in moves.items() if move.before.head == START}
        known = {workspace: move for workspace, move in moves.items() if move.before.head != START}
        if known:
            status = await connection.execute(
                self._sql["advance_heads"],
                list(known),
                [move.before.head.seq for move in known.values()],
                [move.before.head.hash for move in known.values()],
                *_after(known),
            )
            _expect(status, len(known))
        if begun:
            companies = [move.company_id for move in begun.values()]
            status = await connection.execute(self._sql["begin_heads"], list(begun), companies, *_after(begun))
            _expect(status, len(begun))

    async def reject(self, connection: Connection, partition: int, rejections: Sequence[Rejection], now: int) -> None:
        """Keep what can't be stored; ``now`` in microseconds."""
        await connection.executemany(
            self._sql["insert_rejections"],
            [(partition, *r.place, r.id, r.company_id, r.workspace_id, *r.refusal, r.received_at, now, r.original) for r in rejections],
        )

    async def advance(self, connection: Connection, partition: int, before: int, after: int, announced: int) -> None:
        """Move the stored offset from where the chunk began. Raises ``Moved``."""
        _expect(await connection.execute(self._sql["advance_source"], self._topic, partition, before, after, announced), 1)

    async def mark_announced(self, partition: int, announced: int) -> None:
        """Persist how far the partition was announced; never moves it back."""
        async with self._side.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            await connection.execute(self._sql["mark_announced"], self._topic, partition, announced)

    async def park(self, partition: int, reason: str) -> None:
        """Stop the partition until ``hyrelog unpark``. The first reason stays."""
        async with self._side.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            await connection.execute(self._sql["park"], self._topic, partition, reason)

    async def events_after(self, partition: int, place: Place, end: int, limit: int) -> list[StoredEvent]:
        """The next ``limit`` stored events of the partition after a place and before position ``end``."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            rows = await connection.fetch(self._sql["events_to_announce"], partition, *place, end, limit)
        return [to_stored(row, self._region) for row in rows]

    async def rejections_after(self, partition: int, place: Place, end: int, limit: int) -> list[tuple[Rejection, int]]:
        """The next ``limit`` rejections after a place and before position ``end``, each with the time of its rejection."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            rows = await connection.fetch(self._sql["rejections_to_announce"], partition, *place, end, limit)
        return [
            (
                Rejection(Place(row[0], row[1]), _text(row[2]), _text(row[3]), _text(row[4]), Refusal(row[5], row[6]), row[7], row[9]),
                row[8],
            )
            for row in rows
        ]


async def open_store(url: str, region: Region, connections: int) -> tuple[Store, tuple[Pool, Pool]]:
    """The region's store, and its pools to close. Opens even while the database is away."""
    timeouts = db.Timeouts(statement=_STATEMENT_SECONDS, lock=_LOCK_SECONDS, idle_in_transaction=_IDLE_SECONDS)
    name = f"hyrelog-streams-{region.lower()}"
    pool = await db.open_pool(url, application_name=name, region=region, max_size=connections, timeouts=timeouts, parameters=db.BY_INDEX)
    side = await db.open_pool(url, application_name=f"{name}-side", region=region, max_size=_SIDE_CONNECTIONS, timeouts=timeouts)
    return Store(region, pool, side), (pool, side)


def _after(moves: Mapping[str, HeadMove]) -> tuple[list[int], list[bytes], list[int]]:
    ends = [move.after for move in moves.values()]
    return [end.head.seq for end in ends], [end.head.hash for end in ends], [end.archive_day for end in ends]


def _columns(keys: Collection[Key]) -> tuple[list[str], list[str]]:
    return [workspace for workspace, _ in keys], [key.decode() for _, key in keys]


def _expect(status: str, rows: int) -> None:
    if int(status.rsplit(" ", 1)[1]) != rows:
        raise Moved(f"{status}, expected {rows}")


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
