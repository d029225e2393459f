"""One region of the archive sink: reads what is to be archived, from the topic's beginning on, and archives what is not.

It keeps no place in the topic. What a record names is in Postgres, archived or not, so that records are cheap to pass over, and sent
again they change nothing. A part that can't be archived is noted there and passed; it is sent again by the scheduler's next run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from ops import failures, kafka, log
from ops.archive.data_keys import DataKeys
from ops.clock import Clock
from ops.db import sqlstate
from ops.faults import FaultPoints
from ops.kafka import GroupReader, KafkaError, TopicMismatch
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
from sinks.region import let_go
from sinks.store import is_transient, open_sink_pool

_LOG = log.get(__name__)
_RECORDS = 500
_WAIT_SECONDS = 1.0
_TICK_SECONDS = 1.0
_PAUSE_SECONDS = 2.0
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 10.0
_CONNECTIONS = 2
_ANSWER_AGE_SECONDS = 30.0
_ENDED_EXIT_CODE = 75
_NUMBER_TAKEN = "23505"
"""SQLSTATE, when marking gives a new part the number that one of ours was to get."""
_PART_ALONE = (NotAsMarked, Unsealable, Cold, NotThere, Unsupported)
"""What stands against one part: the others go on. It is tried again when it is sent again."""


class RegionArchiver:
    """Everything one process of the archive sink does for one region, while it is entered. Parts are archived one at a time."""

    def __init__(self, settings: Settings, region: Region, *, metrics: Metrics, clock: Clock, faults: FaultPoints) -> None:
        self.region = region
        self.tracer: Tracer | None = None
        self._settings = settings
        self._clock = clock
        self._faults = faults
        self._topic = archive_topic(region)
        self._metrics = ArchiveMetrics(metrics, region)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(1)
        self._waiting: dict[int, int] = {}
        self._failing_since: float | None = None

    async def __aenter__(self) -> Self:
        """Open the database pool, and join the group as soon as Kafka answers."""
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
        self._member = asyncio.create_task(self._be_member())
        self._member.add_done_callback(self._on_end)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """A part under way is given up: it is begun anew by whoever gets its record."""
        self._member.remove_done_callback(self._on_end)
        self._member.cancel()
        self._revoke(set(self._tasks))
        await asyncio.gather(self._member, return_exceptions=True)
        await self._exits.aclose()

    async def check(self) -> None:
        """Raise when Kafka, PostgreSQL or the store has not answered for a while."""
        if self._failing_since is not None and self._clock.monotonic() - self._failing_since > _ANSWER_AGE_SECONDS:
            raise TimeoutError("Kafka, PostgreSQL or the object store has not answered for a while")

    async def _be_member(self) -> None:
        while True:
            async with AsyncExitStack() as exits:
                try:
                    await self._join(exits)
                    while True:
                        await asyncio.sleep(_TICK_SECONDS)
                        if self._reader.is_deaf():
                            raise KafkaError("this member has left its group")
                except (KafkaError, TopicMismatch, OSError) as error:
                    self._note(error)
                    self._revoke(set(self._tasks))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _join(self, exits: AsyncExitStack) -> None:
        await kafka.check_topics(self._settings, self.region)
        self._reader = GroupReader(
            self._settings,
            self.region,
            self._topic,
            f"hyrelog.{self.region.lower()}.archive",
            session_seconds=self._settings.sinks_session_timeout_seconds,
            on_assigned=self._assign,
            on_revoked=self._revoke,
        )
        exits.push_async_callback(let_go, self._reader.stop)
        await self._reader.start()
        self._failing_since = None

    def _assign(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._reader.seek(partition, 0)  # or where the log begins now
            task = self._tasks[partition] = asyncio.create_task(self._work(partition))
            task.add_done_callback(self._on_end)

    def _revoke(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._waiting.pop(partition, None)
            task = self._tasks.pop(partition, None)
            if task is not None:
                task.remove_done_callback(self._on_end)
                task.add_done_callback(_overlook)
                task.cancel()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """No task ends by itself but by a fault of ours."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        _LOG.critical("ending this process", sink="archive", region=self.region, error=failures.summary(error or RuntimeError("ended")))
        os._exit(_ENDED_EXIT_CODE)

    async def _work(self, partition: int) -> None:
        while True:
            try:
                records = await self._reader.fetch(partition, limit=_RECORDS, seconds=_WAIT_SECONDS)
            except KafkaError as error:
                self._note(error)
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
                _LOG.error("undecodable", topic=self._topic, partition=record.partition, offset=record.offset, error=str(error))
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
                self._note(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
        self._tell(partition, 0)

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

    def _note(self, error: BaseException) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
        self._metrics.retried(type(error).__name__)
        _LOG.warning("retrying", sink="archive", region=self.region, error=failures.summary(error))


def _overlook(task: asyncio.Task[None]) -> None:
    """However a task ends that was told to."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
