"""One partition's chain: a chunk of records becomes one transaction, then announcements (design.md, "Exactly once").

Whoever holds the partition's row lock and goes on exactly at its ``next_offset`` may write; nothing else
decides. So any number of workers may believe they own the partition, and a chunk may be given up at
any point: what was not committed comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import NamedTuple
from uuid import UUID

from ops import log, tracing
from ops.clock import Clock
from ops.db import Connection, sqlstate
from ops.faults import FaultPoints
from ops.kafka import KafkaError
from ops.publish import AckTimeout, Pushback
from ops.tracing import Kind
from schemas.accepted import Envelope, open_envelope
from schemas.topics import Region
from streams.announce import Announcer
from streams.gauge import StreamMetrics
from streams.halving import DUPLICATE_ID, find_refused
from streams.keys import First, Key, keys_of
from streams.sequence import NO_KEYS, REPEAT, ChainEnd, Place, Refusal, Rejection, Sequenced, SourceRecord, sequence, workspaces
from streams.store import Moved, Source, Store, Verdict, judge

_LOG = log.get(__name__)
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 2.0
_MAX_CACHED_HEADS = 20_000
KeepGoing = Callable[[], bool]


class Outcome(Enum):
    """How a chunk ended."""

    DONE = "done"
    GAP = "gap"
    """It begins above the stored position: seek back."""
    REPEAT = "repeat"
    """All of it was there before: worth a look whether it is still the same topic."""
    FOREIGN = "foreign"
    """Its positions are not this source's: the topic was made anew, or an operator decided to go on elsewhere."""
    PARKED = "parked"
    GIVEN_UP = "given up"
    """The flow was suspended or the app stops; stored offsets make that free."""


class Identity(NamedTuple):
    """What the positions of records rest on: the topic they came from, and what is added to its offsets."""

    topic_id: UUID
    offset_base: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one transaction; one record at least goes through."""

    events: int
    bytes: int


class PartitionChain:
    """Persists and announces the records of one partition, one chunk at a time."""

    def __init__(
        self,
        region: Region,
        partition: int,
        *,
        store: Store,
        announcer: Announcer,
        metrics: StreamMetrics,
        clock: Clock,
        limits: Limits,
        faults: FaultPoints,
    ) -> None:
        self.region = region
        self.partition = partition
        self.next_position: int | None = None
        """What this process wrote or saw last; for lag, seeking and the watchdog."""
        self.busy = asyncio.Lock()
        self._store = store
        self._announcer = announcer
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._faults = faults
        self._heads: dict[str, ChainEnd] = {}
        self._written: int | None = None
        self._announced = 0
        self._marked = 0
        self._refused: dict[Place, Refusal] = {}

    async def process(self, records: Sequence[SourceRecord], keep_going: KeepGoing, identity: Identity) -> Outcome:
        """Persist and announce records, in order, however long it takes while ``keep_going()`` holds."""
        async with self.busy:
            self._faults.hit("chunk_received")
            outcome = Outcome.DONE
            for chunk in _chunks(records, self._limits):
                outcome = await self._insist(chunk, keep_going, identity)
                if outcome not in (Outcome.DONE, Outcome.REPEAT):
                    break
            return outcome

    async def was_set_back(self, source: Source) -> bool:
        """Whether the stored position lies before what this process wrote: the database came back from a backup. Then it is believed.

        Else the log would count as read up to where it once was, until a later record shows the gap.
        """
        if self.busy.locked() or source.next_offset >= (self.next_position or 0):
            return False
        async with self.busy:
            # Asked again while no chunk of ours is under way: the one before may have committed since ``source`` was read.
            stored = (await self._store.sources())[self.partition]
            if stored.next_offset >= (self.next_position or 0):
                return False
            _LOG.warning("set back", region=self.region, partition=self.partition, of=self.next_position, to=stored.next_offset)
            self._forget()
            self.next_position = stored.next_offset
            self._announced = min(self._announced, stored.next_offset)
            self._marked = min(self._marked, stored.announced)
            return True

    async def catch_up(self, source: Source, keep_going: KeepGoing) -> None:
        """Announce what was persisted and perhaps not announced, and persist the mark: for idle partitions and after taking over."""
        if self.busy.locked():
            return
        async with self.busy:
            self.next_position = max(self.next_position or 0, source.next_offset)
            start = max(source.announced, self._announced)
            if start < source.next_offset:
                await self._reannounce(start, source.next_offset, keep_going)
            if self._announced > source.announced:
                await self.persist_mark()

    async def persist_mark(self) -> None:
        """Write down how far the partition was announced, so that the next owner need not repeat it."""
        if self._announced > self._marked:
            self._faults.hit("before_mark")
            await self._store.mark_announced(self.partition, self._announced)
            self._marked = self._announced

    async def _insist(self, chunk: Sequence[SourceRecord], keep_going: KeepGoing, identity: Identity) -> Outcome:
        """One chunk, retried in place: order matters more than lag."""
        self._refused.clear()
        pause = _FIRST_PAUSE
        while keep_going():
            try:
                return await self._attempt(chunk, keep_going, identity)
            except Moved as error:
                self._forget()
                self._count_retry("moved", error)
            except Exception as error:  # noqa: BLE001 - `judge` sorts them; what is unknown is tried again
                self._forget()
                verdict = judge(error)
                if verdict is Verdict.CONTRADICTION:
                    await self._park(f"stored rows contradict the source's position: {getattr(error, 'constraint_name', '')}", keep_going)
                    return Outcome.PARKED
                if verdict is Verdict.BAD_DATA and await self._find_refused(chunk, keep_going):
                    continue
                self._count_retry(_kind(error), error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)
        return Outcome.GIVEN_UP

    async def _attempt(self, chunk: Sequence[SourceRecord], keep_going: KeepGoing, identity: Identity) -> Outcome:
        async with self._store.transaction() as connection:
            source = await self._lock(connection)
            if source.parked_reason is not None:
                return Outcome.PARKED
            if (source.topic_id, source.offset_base) != identity:
                return Outcome.FOREIGN
            fresh = [record for record in chunk if record.position >= source.next_offset]
            self._metrics.repeats.inc(len(chunk) - len(fresh))
            if not fresh:
                self.next_position = source.next_offset
                stored = None
            elif fresh[0].position > source.next_offset:
                self._metrics.gaps.inc()
                self.next_position = source.next_offset
                return Outcome.GAP
            else:
                stored = await self._persist(connection, source, fresh)
            self._faults.hit("before_commit")
            before_commit = perf_counter()
        if stored is not None:
            self._faults.hit("after_commit")
            self._committed(source, stored, fresh)
            self._metrics.commit_seconds.observe(perf_counter() - before_commit)
        await self._announce(source, stored, keep_going)
        return Outcome.REPEAT if stored is None else Outcome.DONE

    async def _lock(self, connection: Connection) -> Source:
        source, ended = await self._store.lock_source(connection, self.partition)
        self._faults.hit("source_locked")
        if ended:
            self._metrics.blockers.inc(ended)
            _LOG.warning("ended a frozen worker's backend", region=self.region, partition=self.partition)
        if source.next_offset != self._written:
            self._forget()
        return source

    async def _persist(self, connection: Connection, source: Source, fresh: Sequence[SourceRecord]) -> Sequenced:
        """Steps 3 and 4: heads, keys, seq and hash, rows, rejections, aliases, the stored offset."""
        began = perf_counter()
        missing = workspaces(fresh).difference(self._heads)
        if missing:
            self._heads |= await self._store.lock_heads(connection, sorted(missing))
        self._faults.hit("heads_locked")
        stored = sequence(self.partition, fresh, self._heads, self._refused, await self._keys(connection, fresh))
        self._faults.hit("before_copy")
        chained = perf_counter()
        await self._store.copy(connection, stored.rows)
        if stored.rejections:
            await self._store.reject(connection, self.partition, stored.rejections, self._clock.micros())
        if stored.keys or stored.aliases:
            await self._store.settle(connection, self.partition, stored.keys, stored.aliases)
        await self._store.move_heads(connection, stored.moves)
        self._faults.hit("after_copy")
        # The mark may not run ahead of what is announced, nor this transaction's range count as announced.
        announced = min(max(self._announced, source.announced), source.next_offset)
        await self._store.advance(connection, self.partition, source.next_offset, stored.next_position, announced)
        self._metrics.chain_seconds.observe(chained - began)
        self._metrics.copy_seconds.observe(perf_counter() - chained)
        return stored

    async def _keys(self, connection: Connection, records: Sequence[SourceRecord]) -> Mapping[Key, First]:
        """What the records' idempotency keys stand for: read under the locks, so that nobody can settle one meanwhile."""
        wanted = set(keys_of(record.envelope for record in records if isinstance(record.envelope, Envelope)))
        return await self._store.keys(connection, wanted) if wanted else NO_KEYS

    def _committed(self, source: Source, stored: Sequenced, fresh: Sequence[SourceRecord]) -> None:
        if len(self._heads) > _MAX_CACHED_HEADS:
            self._heads.clear()
        self._heads |= {workspace: move.after for workspace, move in stored.moves.items()}
        self._written = self.next_position = stored.next_position
        self._marked = max(self._marked, min(self._announced, source.next_offset))
        self._metrics.repeats.inc(stored.repeats)
        self._metrics.aliased.inc(len(stored.aliases))
        self._metrics.persisted(len(stored.rows), sum(len(record.value) for record in fresh))
        for rejection in stored.rejections:
            self._metrics.rejected(rejection.refusal.reason)
            _LOG.error(
                "event rejected",
                region=self.region,
                partition=self.partition,
                reason=rejection.refusal.reason,
                event_id=rejection.id,
                trace_id=_trace_of(rejection),
            )

    async def _announce(self, source: Source, stored: Sequenced | None, keep_going: KeepGoing) -> None:
        """Step 5. What somebody else committed and did not announce goes first, so that the topic stays in order."""
        behind = max(self._announced, source.announced)
        if behind < source.next_offset and not await self._reannounce(behind, source.next_offset, keep_going):
            return
        if stored is None:
            return
        now = self._clock.micros()
        began = perf_counter()

        async def publish() -> None:
            with tracing.child("announce", Kind.PRODUCER, told=(each.headers for each in stored.announcements)):
                await self._announcer.announce(self.partition, stored.announcements, stored.rejections, now)

        if await self._until_done(publish, keep_going):
            self._announced = stored.next_position
            self._metrics.announced.inc(len(stored.announcements))
            self._metrics.announce_seconds.observe(perf_counter() - began)

    async def _reannounce(self, start: int, end: int, keep_going: KeepGoing) -> bool:
        count = 0

        async def publish() -> None:
            nonlocal count
            count = await self._announcer.announce_stored(self.partition, start, end)

        if not await self._until_done(publish, keep_going):
            return False
        self._announced = end
        self._metrics.announced.inc(count)
        self._metrics.reannounced.inc(count)
        _LOG.info("announced from postgres", region=self.region, partition=self.partition, start=start, end=end, events=count)
        return True

    async def _until_done(self, publish: Callable[[], Awaitable[None]], keep_going: KeepGoing) -> bool:
        """Repeat a publication until it is acknowledged; ``False`` when it was given up. Repeats are what readers expect."""
        pause = _FIRST_PAUSE
        while keep_going():
            try:
                await publish()
            except (Pushback, AckTimeout, KafkaError) as error:
                self._count_retry("kafka", error)
            except Exception as error:
                if judge(error) is not Verdict.RETRY:
                    raise
                self._count_retry(_kind(error), error)
            else:
                return True
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)
        return False

    async def _find_refused(self, chunk: Sequence[SourceRecord], keep_going: KeepGoing) -> bool:
        """Find the events that Postgres will not take, by halving, in a transaction that is always rolled back.

        ``False`` when none was found: then it is not an event that is at fault.
        """
        known = len(self._refused)
        try:
            await self._try_halves(chunk)
        except _Tried:
            pass
        except Exception as error:  # noqa: BLE001 - the database went away meanwhile: the caller tries the chunk again
            self._count_retry(_kind(error), error)
        return keep_going() and len(self._refused) > known

    async def _try_halves(self, chunk: Sequence[SourceRecord]) -> None:
        async with self._store.transaction() as connection:
            source = await self._lock(connection)
            fresh = [record for record in chunk if record.position >= source.next_offset]
            if fresh:
                heads = await self._store.lock_heads(connection, sorted(workspaces(fresh)))
                self._refused |= await self._known(connection, fresh)
                rows = sequence(self.partition, fresh, heads, self._refused, await self._keys(connection, fresh)).rows
                self._refused |= await find_refused(self._store, connection, rows, self._metrics.halvings.inc)
            raise _Tried

    async def _known(self, connection: Connection, records: Sequence[SourceRecord]) -> dict[Place, Refusal]:
        """Events stored already, by one look instead of thousands of halvings: a topic that is read again repeats them all.

        So does the audit relay, within one chunk too: of those the first one counts. Events with a key are told apart by it.
        """
        events = [
            (event.id_text, Place(record.position, number), (record.envelope.workspace_id, event.commitments))
            for record in records
            if isinstance(record.envelope, Envelope)
            for number, event in enumerate(record.envelope.events)
            if event.content_hash is None
        ]
        known = dict(await self._store.known(connection, [one for one, _, _ in events]))
        found = {}
        for one, place, content in events:
            before = known.setdefault(one, content)
            if before is not content:
                found[place] = REPEAT if before == content else DUPLICATE_ID
        return found

    async def _park(self, reason: str, keep_going: KeepGoing) -> None:
        _LOG.critical("partition parked", region=self.region, partition=self.partition, reason=reason)

        async def park() -> None:
            await self._store.park(self.partition, reason)

        await self._until_done(park, keep_going)

    async def park(self, reason: str, keep_going: KeepGoing) -> None:
        """Stop the partition until an operator decides (``hyrelog unpark``)."""
        async with self.busy:
            await self._park(reason, keep_going)

    def _forget(self) -> None:
        self._heads = {}
        self._written = None

    def _count_retry(self, kind: str, error: BaseException) -> None:
        self._metrics.retried(kind)
        _LOG.warning("retrying", region=self.region, partition=self.partition, error=type(error).__name__, sqlstate=sqlstate(error))


def _kind(error: BaseException) -> str:
    """SQLSTATE class, or what kind of error it is."""
    state = sqlstate(error)
    return state[:2] if state else type(error).__name__


def _trace_of(rejection: Rejection) -> str | None:
    """The trace id of the request that brought it; ``None`` when the record can't be read."""
    return None if rejection.id is None else open_envelope(rejection.original).events[0].trace_id.hex()


class _Tried(Exception):
    """All events were tried: roll back and go on."""


def _chunks(records: Sequence[SourceRecord], limits: Limits) -> Iterator[Sequence[SourceRecord]]:
    """Cut into runs within the limits, each of one record at least."""
    start = events = size = 0
    for index, record in enumerate(records):
        if index > start and (events + record.events > limits.events or size + len(record.value) > limits.bytes):
            yield records[start:index]
            start, events, size = index, 0, 0
        events += record.events
        size += len(record.value)
    if start < len(records):
        yield records[start:]
