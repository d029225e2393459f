"""A process's part in a consumer group: one member for all regions whose topics the same brokers have, and a task for each partition.

Regions share the member and its connections, and nothing else: the partitions of one that can't go on are left alone, the others' are read.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from ops import failures, log
from ops.group_reader import GroupReader
from ops.kafka import KafkaError, LogView, Topic, TopicMismatch, TopicPartition
from ops.pace import Alarm
from ops.settings import Settings
from schemas.topics import Region

_LOG = log.get(__name__)
_TICK_SECONDS, _QUIET_TICK_SECONDS = 1.0, 8.0
"""Between two looks at the brokers; the latter while there is nothing to do and nothing changes."""
ANSWER_SECONDS = 5.0
_PAUSE_SECONDS = 2.0
_STOP_SECONDS = 3.0
STALLED_EXIT_CODE = 75

_AWAY = (KafkaError, TopicMismatch, OSError)


class PartitionReader:
    """A topic's partitions that a member of the group was given."""

    def __init__(self, reader: GroupReader, topic: str) -> None:
        self._reader = reader
        self._topic = topic

    def seek(self, partition: int, offset: int) -> None:
        """Read the partition from an offset on; if the log no longer has it, from its beginning."""
        self._reader.seek(TopicPartition(self._topic, partition), offset)

    async def fetch(self, partition: int, *, limit: int, seconds: float) -> Sequence[Any]:
        """The partition's next records: ``limit`` at most, none when there are none for so long. Raises ``KafkaError``."""
        return await self._reader.fetch(TopicPartition(self._topic, partition), limit=limit, seconds=seconds)


class TopicConsumer(ABC):
    """One topic's consumer in a process: runs a task for each partition that the process is given. No task fails but by a fault of ours."""

    view: LogView
    """What the brokers say, while there is any task."""
    reader: PartitionReader

    def __init__(self, name: str, region: Region, topic: str) -> None:
        self.name = name
        self.region = region
        self.topic = topic
        self._assigned: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._is_held = False

    @abstractmethod
    def work(self, partition: int) -> Coroutine[Any, Any, None]:
        """Read the partition, until cancelled."""

    @abstractmethod
    async def look(self, topics: Mapping[str, Topic]) -> bool:
        """See that the topic is what it was, and how far its partitions are behind; whether there is nothing to do until records come.

        Called each second, and rarely once nothing happens. Raises ``TopicMismatch``, and ``KafkaError`` or ``OSError`` without an answer.
        """

    def note(self, error: Exception) -> None:
        """The brokers did not answer, or not as they should."""
        _LOG.warning("no answer from Kafka", sink=self.name, region=self.region, error=failures.summary(error))

    def assign(self, partitions: set[int]) -> None:
        """All partitions that this process has from now on."""
        self._assigned = partitions
        self.resume()

    def revoke(self) -> None:
        """It has none from now on."""
        self._assigned = set()
        self.stop(list(self._tasks))

    def hold(self) -> None:
        """Read nothing until ``resume``."""
        self._is_held = True
        self.stop(list(self._tasks))

    def release(self) -> None:
        """Read on."""
        self._is_held = False
        self.resume()

    def resume(self) -> None:
        """Start what is not running."""
        if not self._is_held:
            for partition in self._assigned - self._tasks.keys():
                self.start(partition)

    def start(self, partition: int) -> None:
        """Begin the partition."""
        task = self._tasks[partition] = asyncio.create_task(self.work(partition))
        task.add_done_callback(self._on_end)

    def stop(self, partitions: Collection[int]) -> None:
        """End these partitions' tasks."""
        for partition in partitions:
            task = self._tasks.pop(partition)
            task.remove_done_callback(self._on_end)
            task.add_done_callback(overlook)
            task.cancel()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        exit_on_failure(task, sink=self.name, region=self.region)


class GroupMember:
    """Reads for consumers whose topics are on the same brokers, while it is entered. They must be ready before, and until after."""

    def __init__(self, name: str, settings: Settings, consumers: Sequence[TopicConsumer]) -> None:
        self._name = name
        self._settings = settings
        self._consumers = consumers
        self._region = consumers[0].region
        self._alarm = Alarm()
        self._is_settled = False

    async def __aenter__(self) -> Self:
        """Join the group as soon as Kafka answers."""
        self._task = asyncio.create_task(self._be_member())
        self._task.add_done_callback(self._on_end)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Leave it; what the consumers are at is given up."""
        self._task.remove_done_callback(self._on_end)
        self._task.cancel()
        self._revoke(set())
        await asyncio.gather(self._task, return_exceptions=True)

    async def _be_member(self) -> None:
        while True:
            async with AsyncExitStack() as exits:
                try:
                    await self._join(exits)
                    while True:
                        await self._alarm.sleep(_QUIET_TICK_SECONDS if self._is_settled else _TICK_SECONDS)
                        self._reader.check()
                        await self._look()
                except _AWAY as error:
                    for consumer in self._consumers:
                        consumer.note(error)
                    self._revoke(set())
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _join(self, exits: AsyncExitStack) -> None:
        self._view = LogView(self._settings, self._region)
        exits.push_async_callback(_let_go, self._view.stop)
        await self._view.start()
        self._reader = GroupReader(
            self._settings,
            self._region,
            [consumer.topic for consumer in self._consumers],
            group_of(self._name, (consumer.region for consumer in self._consumers)),
            session_seconds=self._settings.sinks_session_timeout_seconds,
            on_assigned=self._assign,
            on_revoked=self._revoke,
            on_change=lambda: self._alarm.within(_TICK_SECONDS),
        )
        for consumer in self._consumers:
            consumer.view, consumer.reader = self._view, PartitionReader(self._reader, consumer.topic)
        await self._look()
        exits.push_async_callback(_let_go, self._reader.stop)
        await self._reader.start()
        self._is_settled = False

    async def _look(self) -> None:
        """Ask the brokers. Raises what says that none of the consumers can be served; what is one's own trouble alone is noted."""
        async with asyncio.timeout(ANSWER_SECONDS):
            topics = await self._view.topics()
        answers = await asyncio.gather(*(self._look_for(consumer, topics) for consumer in self._consumers))
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if len(errors) == len(answers):
            raise errors[0]
        for consumer, answer in zip(self._consumers, answers, strict=True):
            if isinstance(answer, Exception):
                consumer.note(answer)
        self._is_settled = all(answer is True for answer in answers)

    async def _look_for(self, consumer: TopicConsumer, topics: Mapping[str, Topic]) -> bool | Exception:
        try:
            is_settled = await consumer.look(topics)
        except TopicMismatch as error:
            consumer.hold()
            return error
        except (KafkaError, OSError) as error:
            return error
        consumer.release()
        return is_settled

    def _assign(self, partitions: set[TopicPartition]) -> None:
        self._is_settled = False
        for consumer in self._consumers:
            consumer.assign({each.partition for each in partitions if each.topic == consumer.topic})

    def _revoke(self, _partitions: set[TopicPartition]) -> None:
        for consumer in self._consumers:
            consumer.revoke()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        exit_on_failure(task, sink=self._name)


def members(name: str, settings: Settings, consumers: Iterable[TopicConsumer]) -> list[GroupMember]:
    """One for each cluster."""
    by_brokers: defaultdict[str, list[TopicConsumer]] = defaultdict(list)
    for consumer in consumers:
        by_brokers[settings.kafka(consumer.region)].append(consumer)
    return [GroupMember(name, settings, each) for each in by_brokers.values()]


def group_of(name: str, regions: Iterable[Region]) -> str:
    """The consumer group of a sink's processes that serve these regions."""
    return ".".join(("hyrelog", name, *sorted(region.lower() for region in regions)))


def exit_on_failure(task: asyncio.Task[None], **labels: str) -> None:
    """End the process when a task failed, or was cancelled by a library that cancels its caller. Stored positions make that free."""
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is not None:
        _LOG.critical("ending this process", error=failures.summary(error), **labels)
        os._exit(STALLED_EXIT_CODE)


def overlook(task: asyncio.Future[None]) -> None:
    """However it ends, nobody waits for it: aiokafka may turn a cancellation into an error of its consumer's, which is stopped next."""
    if not task.cancelled():
        task.exception()


async def _let_go(stop: Callable[[], Awaitable[None]]) -> None:
    """End a client of Kafka's. In a task of its own: with a broker away it can take long, and it may cancel who waits for it."""
    stopping = asyncio.ensure_future(stop())
    done, _ = await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    if not done:
        stopping.cancel()
    elif not stopping.cancelled() and (error := stopping.exception()):
        _LOG.info("a client of Kafka's did not end well", error=failures.summary(error))
