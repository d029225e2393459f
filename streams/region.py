"""One region of a worker: its partitions' chains, and the housekeeping that no record triggers.

Every second, or up to eight while all is quiet, for each partition this worker owns: is it still the same
topic, does the log still hold what was not yet persisted, is there something persisted and not announced,
how far behind is it, does it move at all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol, Self

from ops import failures, kafka, log, tracing
from ops.clock import Clock
from ops.db import is_unavailable
from ops.faults import FaultPoints
from ops.kafka import Bounds, KafkaError, LogView
from ops.metrics import Metrics
from ops.pace import Alarm, Pace
from ops.progress import Progress
from ops.publish import Publisher
from ops.settings import Settings
from ops.tracing import Tracer
from schemas.topics import Region, ingest_topic
from streams.announce import Announcer
from streams.chain import Identity, Limits, Outcome, PartitionChain
from streams.gauge import StreamMetrics
from streams.sequence import read_record
from streams.standing import contradiction
from streams.store import Source, open_store

_LOG = log.get(__name__)
_TICK_SECONDS, _QUIET_TICK_SECONDS = 1.0, 8.0
"""The longer one with the time that a look may take is below what health checks allow."""
_NUDGE_SECONDS = 5.0
_FAILED_PAUSE_SECONDS = 0.5
_ANSWER_SECONDS = 5.0
_CONNECTIONS = 6
_UNACKED_BYTES = 64 << 20
_ACK_SECONDS = 10.0
STALLED_EXIT_CODE = 75


class Flow(Protocol):
    """What a region asks of the consumer that feeds it."""

    def assigned(self, topic: str) -> set[int]:
        """The partitions of a topic that this worker owns now."""

    def keep_going(self) -> bool:
        """Whether work on the partitions at hand still makes sense: no rebalance under way, no shutdown."""

    def is_deaf(self) -> bool:
        """Whether the consumer has left its group for good without having been told to."""

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """Go on reading at a Kafka offset."""

    def pause(self, topic: str, partition: int) -> None:
        """Stop reading a partition until ``seek``."""


class RegionWorker:
    """Everything one worker does for one region."""

    def __init__(self, settings: Settings, region: Region, *, metrics: Metrics, clock: Clock, faults: FaultPoints) -> None:
        self.tracer: Tracer | None = None
        self.region = region
        self.topic = ingest_topic(region)
        self.flow: Flow
        self._settings = settings
        self._clock = clock
        self._faults = faults
        self._metrics = StreamMetrics(metrics, region)
        self._chains: dict[int, PartitionChain] = {}
        self._sources: dict[int, Source] = {}
        self._parked: set[int] = set()
        self._progress: dict[int, Progress] = {}
        self._rebuilt = metrics.producer_rebuilds.labels(region.value)
        self._log: LogView | None = None
        self._pace = Pace(_TICK_SECONDS, _QUIET_TICK_SECONDS)
        self._alarm = Alarm()
        self.answered_at = 0.0

    async def __aenter__(self) -> Self:
        """Open the database pool and the producer; neither has to answer yet."""
        self._exits = AsyncExitStack()
        self._store, pools = await open_store(self._settings.database_url(self.region), self.region, _CONNECTIONS)
        for pool in pools:
            self._exits.callback(pool.terminate)
        self._publisher = Publisher(
            lambda: kafka.producer(self._settings, self.region),
            max_unacked_bytes=_UNACKED_BYTES,
            ack_timeout=_ACK_SECONDS,
            on_rebuild=self._rebuilt.inc,
        )
        await self._publisher.start()
        self._announcer = Announcer(self.region, self._store, self._publisher, self._faults)
        self._housekeeping = asyncio.create_task(self._keep_house())
        self._housekeeping.add_done_callback(self._on_housekeeping_over)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Persist the marks if the database answers at once, and let go of everything."""
        self._housekeeping.remove_done_callback(self._on_housekeeping_over)
        self._housekeeping.cancel()
        await asyncio.gather(self._housekeeping, return_exceptions=True)
        try:
            async with asyncio.timeout(2):
                for chain in self._chains.values():
                    await chain.persist_mark()
        except Exception as error:  # noqa: BLE001 - the next owner announces again what was not marked
            _LOG.info("marks not persisted", region=self.region, error=type(error).__name__)
        await self._publisher.stop(grace=1.0)
        if self._log is not None:
            await self._log.stop()
        await self._exits.aclose()

    def _on_housekeeping_over(self, _task: asyncio.Task[None]) -> None:
        """Nothing but a fault of ours, or of a library that cancels its caller, ends it. Without it nobody would notice a stall."""
        _LOG.critical("housekeeping ended: ending this worker", region=self.region)
        os._exit(STALLED_EXIT_CODE)

    async def positions(self, partitions: Iterable[int]) -> dict[int, int]:
        """The Kafka offsets to go on from, of those partitions that Postgres knows. Raises what Postgres raises."""
        self._faults.hit("in_seek")
        self.look_soon()
        async with asyncio.timeout(_ANSWER_SECONDS):
            self._sources = await self._store.sources()
        self._alarm.within(0)
        wanted = set(partitions)
        return {number: s.next_offset - s.offset_base for number, s in self._sources.items() if number in wanted}

    async def on_chunk(self, partition: int, records: Sequence[Any]) -> None:
        """Persist and announce Kafka records of a partition, or see to it that they come again."""
        self._alarm.within(_TICK_SECONDS)
        chain = self._chain(partition)
        source = await self._source(partition)
        if source is None:
            return
        base = source.offset_base
        read = [read_record(record.offset + base, record.value) for record in records]
        with tracing.batch(self.tracer, "chain", (record.headers for record in records)):
            outcome = await chain.process(read, self.flow.keep_going, Identity(source.topic_id, base))
        if outcome is Outcome.GAP and chain.next_position is not None:
            _LOG.warning("gap: going back", region=self.region, partition=partition, to=chain.next_position - base)
            await self.flow.seek(self.topic, partition, max(0, chain.next_position - base))
        elif outcome is Outcome.PARKED:
            self._parked.add(partition)
            self.flow.pause(self.topic, partition)
        elif outcome in (Outcome.REPEAT, Outcome.FOREIGN):
            self._sources.pop(partition, None)
            self._alarm.within(0)

    def _chain(self, partition: int) -> PartitionChain:
        chain = self._chains.get(partition)
        if chain is None:
            limits = Limits(self._settings.streams_chunk_events, self._settings.streams_chunk_bytes)
            chain = self._chains[partition] = PartitionChain(
                self.region,
                partition,
                store=self._store,
                announcer=self._announcer,
                metrics=self._metrics,
                clock=self._clock,
                limits=limits,
                faults=self._faults,
            )
        return chain

    async def _source(self, partition: int) -> Source | None:
        """The partition's row, once Postgres and Kafka have answered; ``None`` when the flow stopped meanwhile."""
        if partition not in self._sources:
            self._alarm.within(0)
        while self.flow.keep_going():
            source = self._sources.get(partition)
            if source is not None:
                return source
            await asyncio.sleep(0.1)
        return None

    def look_soon(self) -> None:
        """Look within a second and then often: something has changed that is not in the log."""
        self._pace.note(quiet=False)
        self._alarm.within(_TICK_SECONDS)

    async def _keep_house(self) -> None:
        while True:
            try:
                self._pace.note(quiet=await self._tick())
                self.answered_at = self._clock.monotonic()
            except Exception as error:  # noqa: BLE001 - housekeeping has to go on
                self._pace.note(quiet=False)
                if not (is_unavailable(error) or isinstance(error, (KafkaError, kafka.TopicMismatch))):
                    _LOG.exception("housekeeping failed", region=self.region)
                else:
                    _LOG.warning("housekeeping waits", region=self.region, error=failures.summary(error))
                if isinstance(error, KafkaError):
                    await self._forget_log()
                self._progress.clear()  # nobody stands still while Kafka or Postgres is away
                await asyncio.sleep(_FAILED_PAUSE_SECONDS)  # not to be woken: chunks that wait would have us ask ten times a second
            await self._alarm.sleep(self._pace.interval)

    async def _tick(self) -> bool:
        """Whether all partitions are quiet."""
        if self.flow.is_deaf():
            _LOG.critical("deaf: ending this worker", region=self.region)
            os._exit(STALLED_EXIT_CODE)
        owned = sorted(self.flow.assigned(self.topic))
        if not owned:
            return True
        async with asyncio.timeout(_ANSWER_SECONDS):
            topics = await (await self._view()).topics()
            kafka.compare(topics, self._settings, self.region)
            topic = topics[self.topic]
            sources = await self._store.sources()
            for partition in set(owned) - set(sources):
                await self._store.ensure_source(partition, topic.id)
            if set(owned) - set(sources):
                sources = await self._store.sources()
            bounds = await (await self._view()).bounds(self.topic, owned)
        self._sources = sources
        self._progress = {partition: self._progress.get(partition, Progress()) for partition in owned}
        quiet = True
        for partition in owned:
            try:
                async with asyncio.timeout(2 * _ANSWER_SECONDS):
                    quiet = await self._look_after(partition, sources[partition], topic, bounds[partition]) and quiet
            except Exception as error:  # noqa: BLE001 - one partition's trouble must not keep the others waiting
                quiet = False
                _LOG.warning("partition not looked after", region=self.region, partition=partition, error=type(error).__name__)
        return quiet

    async def _look_after(self, partition: int, source: Source, topic: kafka.Topic, bounds: Bounds) -> bool:
        """Whether nothing is left to do: all of the log is persisted, announced and marked so."""
        chain = self._chain(partition)
        if source.parked_reason is None and (reason := contradiction(source, topic, bounds)):
            await chain.park(reason, self.flow.keep_going)
            return False
        if source.parked_reason is None and await chain.was_set_back(source):
            self._progress[partition] = Progress()
            await self.flow.seek(self.topic, partition, source.next_offset - source.offset_base)
            return False
        position = max(source.next_offset, chain.next_position or 0) if source.parked_reason is None else source.next_offset
        progress = self._progress[partition]
        end = bounds.end + source.offset_base
        now = self._clock.monotonic()
        self._metrics.standing(partition, max(0, end - position), progress.lag(end, position, now), source.parked_reason is not None)
        if source.parked_reason is not None:
            self._parked.add(partition)
            self.flow.pause(self.topic, partition)
            progress.moved_at = now
            return False
        if partition in self._parked:
            self._parked.discard(partition)
            await self.flow.seek(self.topic, partition, source.next_offset - source.offset_base)
        elif (
            progress.stalled(end, position, now) > _NUDGE_SECONDS and not chain.busy.locked() and now - progress.nudged_at > _NUDGE_SECONDS
        ):
            # A chunk that was given up comes again only with a later record: a quiet partition has to be sent back.
            progress.nudged_at = now
            await self.flow.seek(self.topic, partition, source.next_offset - source.offset_base)
        # Bounded, so that a Kafka that is away does not keep housekeeping from the other partitions.
        await chain.catch_up(source, lambda: self.flow.keep_going() and self._clock.monotonic() < now + _ANSWER_SECONDS)
        if progress.stalled(end, position, now) > self._settings.streams_stall_seconds:
            # A dead fetcher can leave a live process (streaming facts §1.5). Stored offsets make an exit free.
            _LOG.critical("stalled: ending this worker", region=self.region, partition=partition, lag=end - position)
            os._exit(STALLED_EXIT_CODE)
        return source.announced >= source.next_offset >= end and not chain.busy.locked()

    async def _view(self) -> LogView:
        if self._log is None:
            view = LogView(self._settings, self.region)
            try:
                await view.start()
            except BaseException:
                await view.stop()
                raise
            self._log = view
        return self._log

    async def _forget_log(self) -> None:
        view, self._log = self._log, None
        if view is not None:
            await view.stop()


def by_topic(regions: Iterable[RegionWorker]) -> Callable[[str], RegionWorker]:
    """Find the region's worker by its ingest topic."""
    return {worker.topic: worker for worker in regions}.__getitem__
