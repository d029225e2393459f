"""One region of a sink's process: its member of the consumer group, a loop for each partition that it is given, and a look at both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Generic, Self

from ops import failures, kafka, log
from ops.clock import Clock
from ops.db import Pool
from ops.faults import FaultPoints
from ops.kafka import Bounds, GroupReader, KafkaError, LogView, Topic, TopicMismatch, partition_of
from ops.metrics import Metrics
from ops.progress import Progress
from ops.settings import Settings
from ops.tracing import Tracer
from schemas.topics import Region, events_topic
from sinks.gauge import SinkMetrics
from sinks.loop import Handle, PartitionLoop
from sinks.store import Row, SinkStore, open_sink_pool

_LOG = log.get(__name__)
_TICK_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_ANSWER_AGE_SECONDS = 15.0
_PAUSE_SECONDS = 2.0
_STOP_SECONDS = 3.0
_COMMIT_SECONDS = 1.0
_AT_A_TIME = 2
"""So many partitions of a region have a batch in hand: one is read while another one is written."""
STALLED_EXIT_CODE = 75

OpenStore = Callable[[Region, Pool], SinkStore[Row]]


class RegionSink(Generic[Row]):
    """Everything one process of a sink does for one region, while it is entered."""

    def __init__(
        self,
        name: str,
        handle: Handle[Row],
        open_store: OpenStore[Row],
        settings: Settings,
        region: Region,
        *,
        metrics: Metrics,
        clock: Clock,
        faults: FaultPoints,
    ) -> None:
        self.region = region
        self.tracer: Tracer | None = None
        self._name = name
        self._handle = handle
        self._open_store = open_store
        self._settings = settings
        self._metrics = SinkMetrics(metrics, name, region)
        self._clock = clock
        self._faults = faults
        self._topic = events_topic(region)
        self._gate = asyncio.Semaphore(_AT_A_TIME)
        self._loops: dict[int, PartitionLoop[Row]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._progress: dict[int, Progress] = {}
        self._answered_at = clock.monotonic()

    async def __aenter__(self) -> Self:
        """Open the database pool, and join the group as soon as Kafka answers."""
        self._exits = AsyncExitStack()
        url = self._settings.database_url(self.region)
        pool = await open_sink_pool(url, self.region, self._name, _AT_A_TIME + 1)
        self._exits.callback(pool.terminate)
        self._store = self._open_store(self.region, pool)
        self._member = asyncio.create_task(self._be_member())
        self._member.add_done_callback(self._on_end)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Batches under way have a moment to be committed; then they are given up."""
        self._member.remove_done_callback(self._on_end)
        self._member.cancel()
        taking = [loop.taking for loop in self._loops.values() if loop.taking is not None]
        self._revoke(set(self._tasks))
        await asyncio.gather(self._member, return_exceptions=True)
        if taking:
            await asyncio.wait(taking, timeout=_COMMIT_SECONDS)
        await self._exits.aclose()

    async def check(self) -> None:
        """Raise when Kafka or a partition has not answered for a while, or stands still."""
        if self._clock.monotonic() - self._answered_at > _ANSWER_AGE_SECONDS:
            raise TimeoutError("Kafka or PostgreSQL has not answered for a while")
        for loop in self._loops.values():
            if loop.is_stopped:
                raise RuntimeError(f"partition {loop.partition} stands still")

    async def _be_member(self) -> None:
        while True:
            async with AsyncExitStack() as exits:
                try:
                    await self._join(exits)
                    while True:
                        await asyncio.sleep(_TICK_SECONDS)
                        await self._look()
                except (KafkaError, TopicMismatch, OSError) as error:
                    _LOG.warning("no member of the group", sink=self._name, region=self.region, error=failures.summary(error))
                    self._revoke(set(self._tasks))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _join(self, exits: AsyncExitStack) -> None:
        self._log = LogView(self._settings, self.region)
        exits.push_async_callback(let_go, self._log.stop)
        await self._log.start()
        kafka.compare(await self._log.topics(), self._settings, self.region)
        self._reader = GroupReader(
            self._settings,
            self.region,
            self._topic,
            f"hyrelog.{self.region.lower()}.{self._name}",
            session_seconds=self._settings.sinks_session_timeout_seconds,
            on_assigned=self._assign,
            on_revoked=self._revoke,
        )
        exits.push_async_callback(let_go, self._reader.stop)
        await self._reader.start()

    def _assign(self, partitions: set[int]) -> None:
        self._progress = {partition: Progress() for partition in partitions}
        for partition in partitions:
            self._start(partition)

    def _start(self, partition: int) -> None:
        loop = self._loops[partition] = self._loop(partition)
        task = self._tasks[partition] = asyncio.create_task(loop.run())
        task.add_done_callback(self._on_end)

    def _revoke(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._loops.pop(partition, None)
            task = self._tasks.pop(partition, None)
            if task is not None:
                task.remove_done_callback(self._on_end)
                task.add_done_callback(_overlook)
                task.cancel()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """A loop that stands still has ended. Any other end is a fault of ours, or of a library that cancels its caller."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            _LOG.critical("ending this process", sink=self._name, region=self.region, error=failures.summary(error))
            os._exit(STALLED_EXIT_CODE)

    def _loop(self, partition: int) -> PartitionLoop[Row]:
        count = self._settings.topic_partitions
        return PartitionLoop(
            partition,
            self._handle,
            self._store,
            reader=self._reader,
            standing=self._standing,
            is_ours=lambda workspace_id: partition_of(workspace_id, count) == partition,
            gate=self._gate,
            metrics=self._metrics,
            faults=self._faults,
            tracer=self.tracer,
        )

    async def _standing(self, partition: int) -> tuple[Topic, Bounds]:
        async with asyncio.timeout(_ANSWER_SECONDS):
            topics = await self._log.topics()
            bounds = await self._log.bounds(self._topic, [partition])
        return kafka.compare(topics, self._settings, self.region)[self._topic], bounds[partition]

    async def _look(self) -> None:
        """Is it still the topic that it was, and how far is each partition behind? Raises ``KafkaError`` and ``TimeoutError``."""
        if self._reader.is_deaf():
            raise KafkaError("this member has left its group")
        async with asyncio.timeout(_ANSWER_SECONDS):
            topic = kafka.compare(await self._log.topics(), self._settings, self.region)[self._topic]
            bounds = await self._log.bounds(self._topic, list(self._loops))
        now = self._clock.monotonic()
        lags = [self._lag(loop, topic, bounds[loop.partition], now) for loop in [*self._loops.values()] if loop.partition in bounds]
        if not any(loop.trouble for loop in self._loops.values()):
            self._answered_at = now
        self._metrics.standing(
            lag=sum(records for records, _ in lags),
            seconds=max((seconds for _, seconds in lags), default=0.0),
            refilling=sum(loop.is_refilling for loop in self._loops.values()),
            stopped=sum(loop.is_stopped for loop in self._loops.values()),
        )

    def _lag(self, loop: PartitionLoop[Row], topic: Topic, bounds: Bounds, now: float) -> tuple[int, float]:
        """Records and seconds; a loop that reads another topic than there is now begins again, a process that is stuck ends."""
        position = loop.position
        if position is None:
            return bounds.end - bounds.start, 0.0
        if position.topic_id != topic.id and loop.trouble is None:
            self._revoke({loop.partition})
            self._start(loop.partition)
        progress, offset = self._progress[loop.partition], position.next_offset
        seconds = progress.lag(bounds.end, offset, now)
        if loop.trouble is not None or loop.is_refilling:
            progress.moved_at = now
        if progress.stalled(bounds.end, offset, now) > self._settings.sinks_stall_seconds:
            # A dead fetcher can leave a live process (streaming facts §1.5). Stored positions make an exit free.
            _LOG.critical("stalled: ending this process", sink=self._name, region=self.region, partition=loop.partition)
            os._exit(STALLED_EXIT_CODE)
        return max(0, bounds.end - offset), seconds


def _overlook(task: asyncio.Task[None]) -> None:
    """However a loop ends that was told to: aiokafka may turn a cancellation into an error of its consumer's, which is stopped next."""
    if not task.cancelled():
        task.exception()


async def let_go(stop: Callable[[], Awaitable[None]]) -> None:
    """End a client of Kafka's. In a task of its own: with a broker away it can take long, and it may cancel who waits for it."""
    stopping = asyncio.ensure_future(stop())
    done, _ = await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    if not done:
        stopping.cancel()
    elif not stopping.cancelled() and (error := stopping.exception()):
        _LOG.info("a client of Kafka's did not end well", error=failures.summary(error))
