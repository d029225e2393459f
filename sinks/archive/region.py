"""One region of the archive sink: reads what is to be archived, from the topic's beginning on, and archives what is not.

It keeps no place in the topic. What a record names is in Postgres, archived or not, so that records are cheap to pass over, and sent
again they change nothing. A part that can't be archived is noted there and passed; it is sent again by the scheduler's next run.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from ops import failures, kafka, log
from ops.archive.data_keys import DataKeys
from ops.clock import Clock
from ops.db import sqlstate
from ops.faults import FaultPoints
from ops.kafka import KafkaError, Topic
from ops.metrics import Metrics
from ops.objects import Cold, NotThere, ObjectStore, StoreUnavailable, Unsupported
from ops.sealing import Sealer, Unsealable
from ops.settings import Settings
from ops.tracing import Tracer
from schemas.archive import decode_work
from schemas.codec import Undecodable
from schemas.topics import Region, archive_topic
from sinks.archive.gauge import ArchiveMetrics
from sinks.archive.handle import NotAsMarked
from sinks.archive.store import ArchiveStore
from sinks.archive.writer import Writer
from sinks.consumer import TopicConsumer
from sinks.store import is_transient, open_sink_pool

_LOG = log.get(__name__)
_RECORDS = 500
_WAIT_SECONDS = 15.0
_PAUSE_SECONDS = 2.0
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 10.0
_CONNECTIONS = 2
_ANSWER_AGE_SECONDS = 30.0
_NUMBER_TAKEN = "23505"
"""SQLSTATE, when marking gives a new part the number that one of ours was to get."""
_PART_ALONE = (NotAsMarked, Unsealable, Cold, NotThere, Unsupported)
"""What stands against one part: the others go on. It is tried again when it is sent again."""


class RegionArchiver(TopicConsumer):
    """Everything one process of the archive sink does for one region, while it is entered and its ``GroupMember`` is. Parts are archived
    one at a time.
    """

    def __init__(self, settings: Settings, region: Region, *, metrics: Metrics, clock: Clock, faults: FaultPoints) -> None:
        super().__init__("archive", region, archive_topic(region))
        self.tracer: Tracer | None = None
        self._settings = settings
        self._clock = clock
        self._faults = faults
        self._metrics = ArchiveMetrics(metrics, region)
        self._turn = asyncio.Semaphore(1)
        self._waiting: dict[int, int] = {}
        self._answered_at = clock.monotonic()
        self._failing_since: float | None = None

    async def __aenter__(self) -> Self:
        """Open the database pool."""
        self._exits = AsyncExitStack()
        pool = await open_sink_pool(self._settings.database_url(self.region), self.region, "archive", _CONNECTIONS)
        self._exits.callback(pool.terminate)
        self._store = ArchiveStore(self.region, pool, DataKeys(Sealer.of_archive(self._settings)))
        self._writer = Writer(
            self._settings,
            self._store,
            ObjectStore.of(self._settings, self.region),
            clock=self._clock,
            metrics=self._metrics,
            faults=self._faults,
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """A part under way is given up: it is begun anew by whoever gets its record."""
        await self._exits.aclose()

    async def check(self) -> None:
        """Raise when Kafka, PostgreSQL or the store has not answered for a while."""
        since = self._answered_at if self._failing_since is None else min(self._answered_at, self._failing_since)
        if self._clock.monotonic() - since > _ANSWER_AGE_SECONDS:
            raise TimeoutError("Kafka, PostgreSQL or the object store has not answered for a while")

    def note(self, error: Exception) -> None:
        """The brokers did not answer, or not as they should."""
        self._metrics.retried(type(error).__name__)
        super().note(error)

    async def look(self, topics: Mapping[str, Topic]) -> bool:
        """Is the topic there?"""
        kafka.compare(topics, self._settings, self.region)
        self._answered_at = self._clock.monotonic()
        return True

    def stop(self, partitions: Collection[int]) -> None:
        """End these partitions' tasks."""
        for partition in partitions:
            self._waiting.pop(partition, None)
        self._failing_since = None
        super().stop(partitions)

    async def work(self, partition: int) -> None:
        """Archive what the records name."""
        self.reader.seek(partition, 0)  # or where the log begins now
        while True:
            try:
                records = await self.reader.fetch(partition, limit=_RECORDS, seconds=_WAIT_SECONDS)
            except KafkaError as error:
                self.note(error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if records:
                await self._archive_all(partition, self._named(records))

    def _named(self, records: Sequence[Any]) -> list[str]:
        """The parts that the records name, each once, in order. A record that can't be read is nobody's loss: its part is sent again."""
        parts: OrderedDict[str, None] = OrderedDict()
        for record in records:
            try:
                parts[decode_work(record.value or b"").part_id] = None
            except Undecodable as error:
                self._metrics.refused()
                _LOG.error("undecodable", topic=self.topic, partition=record.partition, offset=record.offset, error=str(error))
        return list(parts)

    async def _archive_all(self, partition: int, parts: Sequence[str]) -> None:
        """All of them, in order, each until it is archived or can't be."""
        pause = _FIRST_PAUSE
        waiting: list[str] | None = None
        while waiting is None or waiting:
            try:
                if waiting is None:
                    left = await self._store.waiting(parts)
                    waiting = [part for part in parts if part in left]
                    continue
                self._tell(partition, len(waiting))
                async with self._turn:
                    await self._archive(waiting[0])
                del waiting[0]
                pause, self._failing_since = _FIRST_PAUSE, None
            except Exception as error:
                if not (isinstance(error, StoreUnavailable) or is_transient(error) or sqlstate(error) == _NUMBER_TAKEN):
                    raise
                self._note_failing(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
        self._tell(partition, 0)
        self._failing_since = None

    async def _archive(self, part: str) -> None:
        try:
            if await self._writer.archive(part):
                _LOG.info("archived", region=self.region, part=part)
        except _PART_ALONE as error:
            reason = failures.summary(error)
            self._metrics.refused()
            _LOG.critical("a part can't be archived", region=self.region, part=part, reason=reason)
            await self._store.refuse(part, reason)

    def _tell(self, partition: int, waiting: int) -> None:
        self._waiting[partition] = waiting
        self._metrics.waiting(sum(self._waiting.values()))

    def _note_failing(self, error: Exception) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
        self._metrics.retried(type(error).__name__)
        _LOG.warning("retrying", sink="archive", region=self.region, error=failures.summary(error))
