"""What every sink keeps in its region's Postgres: its place in each partition, beside what it makes of the events.

A sink's own ``store.py`` adds how its rows go in; its ``queries.sql`` names the tables. Methods that take a connection
work in the caller's transaction.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from ops import db
from ops.db import Connection, Pool
from ops.rows import to_stored
from schemas.event import StoredEvent
from schemas.topics import Region, events_topic

Row = TypeVar("Row")
AfterCommit = Callable[[], None]
"""Called in the process that stored the rows, if it lives to see them committed."""

_STATEMENT_SECONDS = 30.0
_LOCK_SECONDS = 5.0
_IDLE_SECONDS = 10.0
"""A process that freezes in a transaction keeps a partition's next owner waiting for so long, and no longer."""
_ACQUIRE_SECONDS = 5.0
# SQLSTATE classes: what is said about the data (out of range, constraint, too large) …
_BAD_DATA_CLASSES = ("22", "23", "54")
# … and beside what `is_unavailable` names, what another transaction's end changes: deadlocks, locks not got in time.
_TRANSIENT_CLASSES = ("40", "55")
REFILL_ALL = UUID(int=0)


class Position(NamedTuple):
    """Where a sink stands in a partition of the events topic."""

    topic_id: UUID
    next_offset: int
    refill_from: UUID | None
    """The workspaces after this one may have events that are not to come from the topic; ``None`` when none has."""

    def to_refill(self) -> Position:
        """The same, and all workspaces are to be compared with their chains."""
        return self._replace(refill_from=REFILL_ALL)


class Letter(NamedTuple):
    """What could not be taken, and why."""

    record_offset: int | None
    workspace_id: str | None
    seq: int | None
    reason: str


class Buried(NamedTuple):
    """A dead letter as it is kept. Without workspace and seq: of a record that could not be read."""

    id: int
    partition: int
    workspace_id: str | None
    seq: int | None


class Standing(NamedTuple):
    """How far a workspace's chain is, and how far the sink is with it: the last seqs."""

    id: str
    stored: int
    taken: int


class SinkStore(ABC, Generic[Row]):
    """One sink's tables in one region. ``queries`` are those of its ``queries.sql``, under the names used here."""

    def __init__(self, region: Region, pool: Pool, queries: Mapping[str, str]) -> None:
        self.topic = events_topic(region)
        self._region = region
        self._pool = pool
        self._sql = queries

    @abstractmethod
    async def insert(self, connection: Connection, rows: Sequence[Row]) -> AfterCommit | None:
        """Store what was made of events, in the order of the log; what is left to be done once that is committed, if anything.

        Raises ``fates.Retry``, ``fates.Dead`` or what Postgres raises.
        """

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed when the block ends, rolled back when it raises."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection, connection.transaction():
            yield connection

    async def nobodys(self, keys: Collection[bytes]) -> Collection[bytes]:  # noqa: ARG002 - of a sink that takes all events, none
        """Of these keys of records, their workspaces' ids, those whose events it takes nothing of: they need not even be read."""
        return ()

    async def lock_position(self, connection: Connection, partition: int) -> Position | None:
        """Take the partition's row lock, which serialises all who write for it; ``None`` when there is no row yet."""
        row = await connection.fetchrow(self._sql["lock_position"], self.topic, partition)
        return None if row is None else Position(*row)

    async def put_position(self, connection: Connection, partition: int, position: Position) -> None:
        """Begin the partition, or begin it anew."""
        await connection.execute(self._sql["put_position"], self.topic, partition, *position)

    async def heads(self, connection: Connection, workspaces: Iterable[str]) -> dict[str, int]:
        """The last seq that the sink has of each workspace that it knows."""
        rows = await connection.fetch(self._sql["heads"], list(workspaces))
        return {str(row[0]): row[1] for row in rows}

    async def events_after(self, connection: Connection, workspace: str, seq: int, last: int, limit: int) -> list[StoredEvent]:
        """The first ``limit`` stored events of a workspace after a seq and up to another one."""
        rows = await connection.fetch(self._sql["events_after"], workspace, seq, last, limit)
        return [to_stored(row, self._region) for row in rows]

    async def workspaces_after(self, connection: Connection, after: UUID, limit: int) -> list[Standing]:
        """The next ``limit`` workspaces that have events, in the order of their ids."""
        rows = await connection.fetch(self._sql["workspaces_after"], after, limit)
        return [Standing(str(row[0]), row[1], row[2]) for row in rows]

    async def bury(self, connection: Connection, partition: int, letters: Sequence[Letter]) -> None:
        """Keep dead letters, one an event."""
        await connection.executemany(self._sql["bury"], [(self.topic, partition, *letter) for letter in letters])

    async def letters_after(self, connection: Connection, last: int) -> list[Buried]:
        """The next dead letters behind an id, in the order of ids."""
        rows = await connection.fetch(self._sql["letters_after"], self.topic, last)
        return [Buried(row[0], row[1], None if row[2] is None else str(row[2]), row[3]) for row in rows]

    async def forget_letter(self, connection: Connection, letter: int) -> None:
        """Remove a dead letter. Only the owner may."""
        await connection.execute(self._sql["forget_letter"], letter)

    async def is_taken(self, connection: Connection, workspace: str, seq: int) -> bool:
        """Whether the sink has the event."""
        taken: bool = await connection.fetchval(self._sql["is_taken"], workspace, seq)
        return taken


async def open_sink_pool(url: str, region: Region, sink: str, connections: int) -> Pool:
    """A sink's connections. Opens even while the database is away."""
    timeouts = db.Timeouts(statement=_STATEMENT_SECONDS, lock=_LOCK_SECONDS, idle_in_transaction=_IDLE_SECONDS)
    return await db.open_pool(url, application_name=f"hyrelog-{sink}", region=region, max_size=connections, timeouts=timeouts)


def is_transient(error: BaseException) -> bool:
    """Whether the same statements may well succeed later."""
    return db.is_unavailable(error) or (db.sqlstate(error) or "").startswith(_TRANSIENT_CLASSES)


def is_bad_data(error: BaseException) -> bool:
    """Whether the error is about the rows, so that other rows may be stored."""
    return (db.sqlstate(error) or "").startswith(_BAD_DATA_CLASSES)
