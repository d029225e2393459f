"""The loop of every sink: the only code that knows offsets.

A batch of one partition is one Postgres transaction: lock the position, drop what was taken before, check that no
workspace's chain has a hole, store, move the position, commit. So each event is taken exactly once, whoever works the
partition and however often a process is killed: the row lock serialises writers, zombies too, and the position says
what is left. What the topic does not have (retention took it, it was made anew, the sink is new) comes from Postgres.

Whatever goes wrong, the loop begins again at the stored position; nothing that it remembers has to be right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, Generic, Protocol
from uuid import UUID

from ops import failures, log, tracing
from ops.db import Connection
from ops.faults import FaultPoints
from ops.kafka import Bounds, KafkaError, Topic, TopicMismatch
from ops.tracing import Tracer
from schemas.announced import open_event
from schemas.codec import Undecodable
from schemas.event import StoredEvent
from sinks.batch import Hole, Item, Taken, TooManyDead, fresh, in_order, jumps, moved
from sinks.consumer import overlook
from sinks.fates import Dead, Retry
from sinks.gauge import SinkMetrics
from sinks.refill import Following, Missing, Refill
from sinks.store import REFILL_ALL, Position, Row, SinkStore, is_bad_data, is_transient

_LOG = log.get(__name__)
_BATCH_EVENTS = 1000
_IDLE_SECONDS, _TRIAL_SECONDS = 15.0, 1.0
"""So long records are waited for; the latter until it is known that all goes well again."""
_YIELD_SECONDS = 0.01
"""So long events are read in one go before heartbeats and other partitions get their turn: most take 40 µs, the largest 60 ms."""
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 5.0

Handle = Callable[[StoredEvent], Row]
"""What a sink makes of an event. Raises ``Dead``."""
Standing = Callable[[int], Awaitable[tuple[Topic, Bounds]]]
"""What the brokers say of the topic, and of a partition's log."""


class Moved(Exception):
    """The position is gone, or one of another topic than this loop reads: begin again."""


class Reader(Protocol):
    """What the loop asks of the consumer."""

    def seek(self, partition: int, offset: int) -> None:
        """Read on from there."""

    async def fetch(self, partition: int, *, limit: int, seconds: float) -> Sequence[Any]:
        """The next records; none when none come for so long."""


class PartitionLoop(Generic[Row]):
    """Takes one partition's events for one sink, while ``run`` runs."""

    def __init__(
        self,
        partition: int,
        handle: Handle[Row],
        store: SinkStore[Row],
        *,
        reader: Reader,
        standing: Standing,
        is_ours: Callable[[str], bool],
        gate: asyncio.Semaphore,
        metrics: SinkMetrics,
        faults: FaultPoints,
        tracer: Tracer | None = None,
    ) -> None:
        """``is_ours`` tells the partition's workspaces; ``gate`` bounds how many partitions hold a batch in memory at a time."""
        self.partition = partition
        self.position: Position | None = None
        """As last seen."""
        self.trouble: Exception | None = None
        """What it could not go on for, until it does."""
        self.taking: asyncio.Future[None] | None = None
        """The batch that was last begun."""
        self._handle = handle
        self._store = store
        self._reader = reader
        self._standing = standing
        self._gate = gate
        self._metrics = metrics
        self._faults = faults
        self._tracer = tracer
        self._refill = Refill(store, self._take_following, is_ours)
        self._passed: dict[str, int] = {}
        """The last seq by workspace that was passed without a row: dead, or no longer in Postgres."""
        self._dead_run = 0

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still until the process starts again."""
        return isinstance(self.trouble, TooManyDead)

    @property
    def is_refilling(self) -> bool:
        """Whether there may be events that are not to come from the topic."""
        return self.position is not None and self.position.refill_from is not None

    async def run(self) -> None:
        """Work until cancelled. Raises what no repeating mends."""
        pause = _FIRST_PAUSE
        while not self.is_stopped:
            try:
                await self._begin()
                while True:
                    await self._turn()
                    self.trouble, pause = None, _FIRST_PAUSE
            except Exception as error:
                if not (isinstance(error, (KafkaError, TopicMismatch, Moved, Retry, TooManyDead)) or is_transient(error)):
                    raise
                self._note(error)
                await asyncio.sleep(error.after if isinstance(error, Retry) else pause)
                pause = min(pause * 2, _LAST_PAUSE)

    def _note(self, error: Exception) -> None:
        self.trouble = error
        self._metrics.retried(type(error).__name__)
        if isinstance(error, TooManyDead):
            _LOG.critical("standing still", topic=self._store.topic, partition=self.partition, reason=str(error))
        else:
            _LOG.warning("retrying", topic=self._store.topic, partition=self.partition, error=failures.summary(error))

    async def _begin(self) -> None:
        """Find the place to go on from, or a new one where there is none or the log contradicts it."""
        topic, bounds = await self._standing(self.partition)
        async with self._store.transaction() as connection:
            position = await self._store.lock_position(connection, self.partition)
            reason = _contradiction(position, topic, bounds)
            if position is not None and reason is not None:  # what the last owner read while we waited for it was not yet there before
                topic, bounds = await self._standing(self.partition)
                reason = _contradiction(position, topic, bounds)
            if position is None or reason is not None:
                position = Position(topic.id, bounds.end, REFILL_ALL)
                await self._store.put_position(connection, self.partition, position)
        if reason is not None:
            self._metrics.gap(reason)
            _LOG.warning("what is missing comes from Postgres", reason=reason, topic=self._store.topic, partition=self.partition)
        self.position = position
        self._refill.forget()
        self._reader.seek(self.partition, position.next_offset)

    async def _turn(self) -> None:
        """A batch from the topic, and a page from Postgres while one is wanted: neither waits for the other's end."""
        wait = _IDLE_SECONDS if self.trouble is None else _TRIAL_SECONDS
        records = await self._reader.fetch(self.partition, limit=_BATCH_EVENTS, seconds=0 if self.is_refilling else wait)
        if records:
            async with self._gate:
                self._faults.hit("sink_records_read")
                with tracing.batch(self._tracer, "take", (record.headers for record in records), is_flag_known=False):
                    await self._settle(await self._read(records))
        if self.position is not None and self.position.refill_from is not None:
            async with self._gate:
                await self._refill_from(self.position.refill_from)

    async def _read(self, records: Sequence[Any]) -> list[Item[Row]]:
        nobodys = await self._store.nobodys({record.key for record in records if record.key})
        items: list[Item[Row]] = []
        began = perf_counter()
        for record in records:
            offset = record.offset
            if record.key in nobodys:
                items.append(Item(offset, None, 0, None, is_nobodys=True))
                continue
            try:
                event = open_event(record.value or b"")
            except Undecodable as error:
                items.append(Item(offset, None, 0, None, f"undecodable: {error}"))
            else:
                items.append(self._made(event, event.seq - 1, offset))
            if perf_counter() > began + _YIELD_SECONDS:
                await asyncio.sleep(0)
                began = perf_counter()
        return items

    async def _take_following(self, events: Sequence[Following]) -> None:
        self._faults.hit("sink_in_refill")
        items = []
        for event, after in events:
            items.append(self._made(event, after, None))
            await asyncio.sleep(0)
        await self._settle(items)

    def _made(self, event: StoredEvent, after: int, offset: int | None) -> Item[Row]:
        try:
            return Item(offset, event, after, self._handle(event))
        except Dead as error:
            return Item(offset, event, after, None, error.reason)
        except Exception as error:  # noqa: BLE001 - one event that a sink stumbles over must not stop the others; many do (`TooManyDead`)
            # No traceback: its text may hold what the event holds.
            return Item(offset, event, after, None, f"handling failed: {type(error).__name__}")

    async def _settle(self, items: list[Item[Row]]) -> None:
        """Take a batch, whatever it needs: its holes first, and halves where one event spoils the others."""
        while True:
            try:
                return await self._take(items)
            except Hole as hole:
                self._metrics.gap("hole")
                await self._refill.fill(Missing(hole.workspace_id, hole.last))
                self._passed[hole.workspace_id] = hole.last
            except Exception as error:
                reason = _badness(error)
                if reason is None:
                    raise
                half = len(items) // 2
                if half:
                    await self._settle(items[:half])
                    items = items[half:]
                else:
                    items = [items[0].dead(reason)]

    async def _take(self, items: Sequence[Item[Row]]) -> None:
        """A batch that was begun is ended, even if its partition is taken away meanwhile: what it commits has to be told of."""
        self.taking = asyncio.ensure_future(self._commit(items))
        self.taking.add_done_callback(overlook)  # nobody waits any more for a batch whose partition was taken away
        await asyncio.shield(self.taking)

    async def _commit(self, items: Sequence[Item[Row]]) -> None:
        began = perf_counter()
        async with self._store.transaction() as connection:
            position = await self._lock(connection)
            left = fresh(items, position)
            taken = in_order(left, await self._heads(connection, left), self._dead_run)
            then = await self._store.insert(connection, taken.rows) if taken.rows else None
            if taken.letters:
                await self._store.bury(connection, self.partition, taken.letters)
            after = moved(position, left)
            if after != position:
                await self._store.put_position(connection, self.partition, after)
            self._faults.hit("sink_before_commit")
        self._faults.hit("sink_after_commit")
        if then is not None:
            then()
        if jumps(position, left):
            self._metrics.gap("truncated")
            self._refill.forget()
        self.position, self._dead_run = after, taken.dead_run
        self._tell(items, taken, perf_counter() - began)

    async def _lock(self, connection: Connection) -> Position:
        position = await self._store.lock_position(connection, self.partition)
        if position is None or self.position is None or position.topic_id != self.position.topic_id:
            raise Moved
        self._faults.hit("sink_position_locked")
        return position

    async def _heads(self, connection: Connection, items: Iterable[Item[Row]]) -> dict[str, int]:
        """Asked anew under each lock: remembering them would save 1 ms a batch, and could be wrong after a zombie's turn."""
        workspaces = {item.event.workspace_id for item in items if item.event is not None}
        heads = await self._store.heads(connection, workspaces) if workspaces else {}
        return {each: max(heads.get(each, 0), self._passed.get(each, 0)) for each in workspaces}

    def _tell(self, items: Sequence[Item[Row]], taken: Taken[Row], seconds: float) -> None:
        for letter in taken.letters:
            _LOG.error("dead letter", topic=self._store.topic, partition=self.partition, **letter._asdict())
            if letter.workspace_id is not None and letter.seq is not None:
                self._passed[letter.workspace_id] = letter.seq
        rows, dead, nobodys = len(taken.rows), len(taken.letters), sum(item.is_nobodys for item in items)
        refilled = items[0].offset is None
        self._metrics.took(rows, repeats=len(items) - rows - dead - nobodys, dead=dead, refilled=refilled, seconds=seconds)

    async def _refill_from(self, after: UUID) -> None:
        """Refill a page, and remember up to which workspace nothing is missing."""
        reached = await self._refill.step(after)
        if reached == after:
            return
        async with self._store.transaction() as connection:
            position = await self._lock(connection)
            if position.refill_from != after:  # somebody else refills, or everything is to be looked at again
                raise Moved
            await self._store.put_position(connection, self.partition, position._replace(refill_from=reached))
        self.position = position._replace(refill_from=reached)


def _contradiction(position: Position | None, topic: Topic, bounds: Bounds) -> str | None:
    """Why the log can't be read on from the position; ``None`` when it can."""
    if position is None:
        return "first_seen"
    if position.topic_id != topic.id:
        return "recreated"
    if bounds.end < position.next_offset:
        return "behind"
    return "truncated" if bounds.start > position.next_offset else None


def _badness(error: Exception) -> str | None:
    """Why an event of the batch can't be stored, when that is what the error says."""
    if isinstance(error, Dead):
        return error.reason
    return f"refused by PostgreSQL: {type(error).__name__}" if is_bad_data(error) else None
