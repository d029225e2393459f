"""A member of a consumer group, over topics of one cluster. Where each of its partitions is read from, its user says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from ops.kafka import FETCHER_MS, KafkaError, connection
from ops.long_poll import LongPoll
from ops.settings import Settings
from schemas.topics import Region

# It gathers more than the chain worker does: it is downstream, where fewer and larger batches cost the machine less.
_PARTITION_BYTES, _FETCH_BYTES = 1 << 20, 8 << 20
_FETCH_WAIT_MS = 200
_METADATA_AGE_MS = 5_000
"""A broker just restarted may answer that it knows no topics; the group's leader must ask again soon."""
_NEVER_MS = 24 * 3_600_000

Partitions = Callable[[set[TopicPartition]], None]


class GroupReader:
    """One member of a consumer group that reads topics; their partitions are shared out among the members.

    A partition that was assigned is not read before ``seek``. The broker's committed offsets are not used.
    """

    def __init__(
        self,
        settings: Settings,
        region: Region,
        topics: Iterable[str],
        group: str,
        *,
        session_seconds: float,
        on_assigned: Partitions,
        on_revoked: Partitions,
        on_change: Callable[[], None],
    ) -> None:
        """``region`` is any that is served by the topics' cluster. ``on_revoked`` and ``on_assigned`` are called in turn at each rebalance,
        with all partitions of this member; ``on_change`` when records come, or the brokers do not answer as they did.
        """
        self._topics = list(topics)
        self._listener = _Listener(self._assign, on_revoked)
        self._on_assigned = on_assigned
        self._on_change = on_change
        self._waiting: dict[TopicPartition, asyncio.Future[None]] = {}
        self._waking: asyncio.Task[None] | None = None
        self._consumer = AIOKafkaConsumer(
            **connection(settings, region),
            group_id=group,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=_METADATA_AGE_MS,
            session_timeout_ms=round(session_seconds * 1000),
            heartbeat_interval_ms=round(session_seconds * 100),
            max_poll_interval_ms=_NEVER_MS,  # a database that is away is no reason to give the partitions to somebody else
            fetch_min_bytes=_PARTITION_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
            consumer_timeout_ms=FETCHER_MS,
        )
        self._polling = LongPoll(self._consumer, on_failure=on_change)

    async def start(self) -> None:
        """Connect and join the group. Raises ``KafkaError``."""
        await self._consumer.start()
        self._waking = asyncio.create_task(self._wake_waiting())
        await asyncio.sleep(0)  # aiokafka's stop() raises CancelledError when its tasks were never given a turn
        for task in (self._consumer._fetcher.error_future, self._consumer._coordinator._coordination_task):
            task.add_done_callback(lambda _task: self._on_change())
        self._consumer.subscribe(self._topics, listener=self._listener)

    async def stop(self) -> None:
        """Leave the group, also when there was no joining it."""
        if self._waking is not None:
            self._waking.cancel()
        await self._consumer.stop()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read the partition from an offset on; if the log no longer has it, from its beginning."""
        self._consumer.seek(partition, offset)
        self._consumer.resume(partition)
        self._polling.interrupt()

    async def fetch(self, partition: TopicPartition, *, limit: int, seconds: float) -> Sequence[ConsumerRecord]:
        """The partition's next records, in order: ``limit`` at most, none when there are none for so long. Raises ``KafkaError``."""
        records = await self._fetched(partition, limit)
        if records or not seconds:
            return records
        await self._wait(partition, seconds)
        return await self._fetched(partition, limit)

    def check(self) -> None:
        """Raise ``KafkaError`` when the member is none any more: brokers refuse it, or it left its group for good without having been told
        to (a starting broker's metadata can do that).
        """
        coordinator = self._consumer._coordinator
        coordinator.check_errors()
        if coordinator._coordination_task.done():
            raise KafkaError("this member has left its group")
        if self._consumer._fetcher.error_future.done():
            raise KafkaError("this member fetches no more")

    async def _fetched(self, partition: TopicPartition, limit: int) -> Sequence[ConsumerRecord]:
        found: Mapping[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(partition, max_records=limit)
        if not found:
            return ()
        self._on_change()
        return found[partition]

    async def _wait(self, partition: TopicPartition, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiting[partition] = loop.create_future()
        timer = loop.call_later(seconds, _resolve, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            if self._waiting.get(partition) is waiter:
                del self._waiting[partition]

    async def _wake_waiting(self) -> None:
        """Wake those whose records came. By aiokafka's own means all would wake at each answer, to find that nothing is theirs."""
        fetcher = self._consumer._fetcher
        while True:
            fetched: Iterable[TopicPartition] = fetcher._records
            try:
                await fetcher._create_fetch_waiter()
            except KafkaError:  # of the member, for whoever asks next
                fetched = [*self._waiting]
                self._on_change()
            for partition in fetched:
                if partition in self._waiting:
                    _resolve(self._waiting[partition])

    def _assign(self, partitions: set[TopicPartition]) -> None:
        # Else the fetcher would begin with the log's first record before anybody has said where to.
        self._consumer.pause(*partitions)
        self._on_change()
        self._on_assigned(partitions)


class _Listener(ConsumerRebalanceListener):
    def __init__(self, on_assigned: Partitions, on_revoked: Partitions) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._on_assigned(set(assigned))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._on_revoked(set(revoked))


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
