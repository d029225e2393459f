"""One region of a sink of the events topic: a loop for each partition that the process is given, and a look at how far they are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, Generic, Self

from ops import kafka, log
from ops.clock import Clock
from ops.db import Pool
from ops.faults import FaultPoints
from ops.kafka import Bounds, Topic, partition_of
from ops.metrics import Metrics
from ops.progress import Progress
from ops.settings import Settings
from ops.tracing import Tracer
from schemas.topics import Region, events_topic
from sinks.consumer import ANSWER_SECONDS, STALLED_EXIT_CODE, TopicConsumer
from sinks.gauge import SinkMetrics
from sinks.loop import Handle, PartitionLoop
from sinks.store import Row, SinkStore, open_sink_pool

_LOG = log.get(__name__)
_ANSWER_AGE_SECONDS = 15.0
_COMMIT_SECONDS = 1.0
_AT_A_TIME = 2
"""So many partitions of a region have a batch in hand: one is read while another one is written."""

OpenStore = Callable[[Region, Pool], SinkStore[Row]]


class RegionSink(TopicConsumer, Generic[Row]):
    """Everything one process of a sink does for one region, while it is entered and its ``GroupMember`` is."""

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
        super().__init__(name, region, events_topic(region))
        self.tracer: Tracer | None = None
        self._handle = handle
        self._open_store = open_store
        self._settings = settings
        self._metrics = SinkMetrics(metrics, name, region)
        self._clock = clock
        self._faults = faults
        self._gate = asyncio.Semaphore(_AT_A_TIME)
        self._loops: dict[int, PartitionLoop[Row]] = {}
        self._progress: dict[int, Progress] = {}
        self._ending: list[asyncio.Future[None]] = []
        """Batches of partitions that were taken away."""
        self._answered_at = clock.monotonic()

    async def __aenter__(self) -> Self:
        """Open the database pool."""
        self._exits = AsyncExitStack()
        url = self._settings.database_url(self.region)
        pool = await open_sink_pool(url, self.region, self.name, _AT_A_TIME + 1)
        self._exits.callback(pool.terminate)
        self._store = self._open_store(self.region, pool)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Batches under way have a moment to be committed; then they are given up."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=_COMMIT_SECONDS)
        await self._exits.aclose()

    async def check(self) -> None:
        """Raise when Kafka or a partition has not answered for a while, or stands still."""
        if self._clock.monotonic() - self._answered_at > _ANSWER_AGE_SECONDS:
            raise TimeoutError("Kafka or PostgreSQL has not answered for a while")
        for loop in self._loops.values():
            if loop.is_stopped:
                raise RuntimeError(f"partition {loop.partition} stands still")

    def work(self, partition: int) -> Coroutine[Any, Any, None]:
        """A loop that begins at the stored position."""
        self._progress.setdefault(partition, Progress())
        loop = self._loops[partition] = self._loop(partition)
        return loop.run()

    def stop(self, partitions: Collection[int]) -> None:
        """End these partitions' loops."""
        loops = [self._loops.pop(partition) for partition in partitions]
        self._ending = [batch for batch in (*self._ending, *(loop.taking for loop in loops)) if batch is not None and not batch.done()]
        super().stop(partitions)

    def revoke(self) -> None:
        """The process has no partition from now on."""
        super().revoke()
        self._progress = {}

    def _loop(self, partition: int) -> PartitionLoop[Row]:
        count = self._settings.topic_partitions
        return PartitionLoop(
            partition,
            self._handle,
            self._store,
            reader=self.reader,
            standing=self._standing,
            is_ours=lambda workspace_id: partition_of(workspace_id, count) == partition,
            gate=self._gate,
            metrics=self._metrics,
            faults=self._faults,
            tracer=self.tracer,
        )

    async def _standing(self, partition: int) -> tuple[Topic, Bounds]:
        async with asyncio.timeout(ANSWER_SECONDS):
            topics = await self.view.topics()
            bounds = await self.view.bounds(self.topic, [partition])
        return kafka.compare(topics, self._settings, self.region)[self.topic], bounds[partition]

    async def look(self, topics: Mapping[str, Topic]) -> bool:
        """Is it still the topic that it was, and how far is each partition behind?"""
        topic = kafka.compare(topics, self._settings, self.region)[self.topic]
        async with asyncio.timeout(ANSWER_SECONDS):
            bounds = await self.view.bounds(self.topic, list(self._loops))
        now = self._clock.monotonic()
        loops = [loop for loop in self._loops.values() if loop.partition in bounds]
        lags = [self._lag(loop, topic, bounds[loop.partition], now) for loop in loops]
        is_well = not any(loop.trouble for loop in self._loops.values())
        if is_well:
            self._answered_at = now
        lag, refilling = sum(records for records, _ in lags), sum(loop.is_refilling for loop in self._loops.values())
        self._metrics.standing(
            lag=lag,
            seconds=max((seconds for _, seconds in lags), default=0.0),
            refilling=refilling,
            stopped=sum(loop.is_stopped for loop in self._loops.values()),
        )
        return is_well and not lag and not refilling and all(loop.position is not None for loop in self._loops.values())

    def _lag(self, loop: PartitionLoop[Row], topic: Topic, bounds: Bounds, now: float) -> tuple[int, float]:
        """Records and seconds; a loop that reads another topic than there is now begins again, a process that is stuck ends."""
        position = loop.position
        if position is None:
            return bounds.end - bounds.start, 0.0
        if position.topic_id != topic.id and loop.trouble is None:
            self.stop([loop.partition])
            self.start(loop.partition)
        progress, offset = self._progress[loop.partition], position.next_offset
        seconds = progress.lag(bounds.end, offset, now)
        if loop.trouble is not None or loop.is_refilling:
            progress.moved_at = now
        if progress.stalled(bounds.end, offset, now) > self._settings.sinks_stall_seconds:
            # A dead fetcher can leave a live process (streaming facts §1.5). Stored positions make an exit free.
            _LOG.critical("stalled: ending this process", sink=self.name, region=self.region, partition=loop.partition)
            os._exit(STALLED_EXIT_CODE)
        return max(0, bounds.end - offset), seconds
