"""A member of a consumer group, over topics of one cluster. Where each of its partitions is read from, its user says.

A fetch waits at the broker for records to come. While some come, it waits for many: fewer and larger batches cost the machine less. Once
none came for a while it waits for the first one, and the longer the longer nothing comes, so that an idle member costs next to nothing and
the record that ends the silence is answered at once.

A broker answers the requests of a connection one after the other, and aiokafka has one fetch under way a broker. Three things keep a long
wait from delaying anything else: fetches have connections of their own; a wait is long only while every partition's records are waited for,
so none is paused, behind or being worked on; and whoever seeks ends the waits under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.protocol.fetch import FetchRequest

from ops.kafka import KafkaError, connection
from ops.settings import Settings
from schemas.topics import Region

_PARTITION_BYTES, _FETCH_BYTES = 1 << 20, 8 << 20
_BUSY_WAIT_MS, _LONGEST_WAIT_MS = 200, 5_000
"""The longest is well below the request's timeout: a broker that hangs is noticed as soon as ever."""
_IDLE_AFTER_SECONDS = 0.5
_METADATA_AGE_MS = 5_000
"""A broker just restarted may answer that it knows no topics; the group's leader must ask again soon."""
_NEVER_MS = 24 * 3_600_000
_FETCHES = "fetches"
"""Names the group of connections beside those that aiokafka has."""

Partitions = Callable[[set[TopicPartition]], None]


class FetchTerms(NamedTuple):
    """When a broker answers a fetch: as soon as it has ``min_bytes``, or after ``wait_ms``."""

    min_bytes: int
    wait_ms: int


def fetch_terms(idle_seconds: float) -> FetchTerms:
    """The terms of the next fetch, when nothing came for so long."""
    if idle_seconds < _IDLE_AFTER_SECONDS:
        return FetchTerms(_PARTITION_BYTES, _BUSY_WAIT_MS)
    return FetchTerms(1, min(round(idle_seconds * 1000), _LONGEST_WAIT_MS))


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
        with all partitions of this member; ``on_change`` when records come, or something is not as it was with the brokers.
        """
        self._topics = list(topics)
        self._listener = _Listener(self._assign, on_revoked)
        self._on_assigned = on_assigned
        self._on_change = on_change
        self._waiting: dict[TopicPartition, asyncio.Future[None]] = {}
        self._active_at = 0.0
        self._consumer = AIOKafkaConsumer(
            **connection(settings, region),
            group_id=group,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            metadata_max_age_ms=_METADATA_AGE_MS,
            session_timeout_ms=round(session_seconds * 1000),
            heartbeat_interval_ms=round(session_seconds * 100),
            max_poll_interval_ms=_NEVER_MS,  # a database that is away is no reason to give the partitions to somebody else
        )

    async def start(self) -> None:
        """Connect and join the group. Raises ``KafkaError``."""
        consumer = self._consumer
        await consumer.start()
        await consumer._fetcher.close()
        self._fetcher = consumer._fetcher = _PatientFetcher(consumer._client, consumer._subscription, self._idle_seconds, self._on_change)
        self._waking = asyncio.create_task(self._wake_waiting())
        await asyncio.sleep(0)  # aiokafka's stop() raises CancelledError when its tasks were never given a turn
        for task in (self._fetcher.error_future, consumer._coordinator._coordination_task):
            task.add_done_callback(lambda _task: self._on_change())
        self._watch_metadata(consumer._client)
        consumer.subscribe(self._topics, listener=self._listener)

    async def stop(self) -> None:
        """Leave the group."""
        self._waking.cancel()
        await self._consumer.stop()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read the partition from an offset on; if the log no longer has it, from its beginning."""
        self._active_at = _now()
        self._consumer.seek(partition, offset)
        self._consumer.resume(partition)
        self._fetcher.end_waits()

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
        if self._fetcher.error_future.done():
            raise KafkaError("this member fetches no more")

    async def _fetched(self, partition: TopicPartition, limit: int) -> Sequence[ConsumerRecord]:
        found: Mapping[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(partition, max_records=limit)
        if not found:
            return ()
        self._active_at = _now()
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
        while True:
            fetched: Iterable[TopicPartition] = self._fetcher._records
            try:
                await self._fetcher._create_fetch_waiter()
            except KafkaError:  # of the member, for whoever asks next
                fetched = [*self._waiting]
                self._on_change()
            for partition in fetched:
                if partition in self._waiting:
                    _resolve(self._waiting[partition])

    def _idle_seconds(self) -> float:
        """For how long nothing came and nobody had anything to do; 0 while somebody has."""
        if any(partition not in self._waiting for partition in self._consumer.assignment()):
            return 0.0
        return _now() - self._active_at

    def _assign(self, partitions: set[TopicPartition]) -> None:
        # Else the fetcher would begin with the log's first record before anybody has said where to.
        self._consumer.pause(*partitions)
        self._active_at = _now()
        self._on_change()
        self._on_assigned(partitions)

    def _watch_metadata(self, client: Any) -> None:
        """All that goes wrong with a broker or a topic makes aiokafka ask for metadata ahead of time."""
        force = client.force_metadata_update

        def noticed() -> Any:
            self._on_change()
            return force()

        client.force_metadata_update = noticed


class _Listener(ConsumerRebalanceListener):
    def __init__(self, on_assigned: Partitions, on_revoked: Partitions) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._on_assigned(set(assigned))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._on_revoked(set(revoked))


class _FetchClient:
    """A consumer's client to its fetcher: fetches go over connections of their own."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any) -> Any:
        if isinstance(request, FetchRequest):
            return await self._client.send(node_id, request, group=_FETCHES)
        return await self._client.send(node_id, request)

    def end_fetch(self, node_id: int) -> None:
        """Drop the connection: the broker answers nothing else over it before the fetch that nobody waits for any more."""
        if (connected := self._client._conns.get((node_id, _FETCHES))) is not None:
            connected.close()


class _PatientFetcher(Fetcher):
    """aiokafka's fetcher, with terms that change. ``idle_seconds`` tells for how long nothing came."""

    def __init__(self, client: Any, subscriptions: Any, idle_seconds: Callable[[], float], on_change: Callable[[], None]) -> None:
        self._idle_seconds = idle_seconds
        self._on_change = on_change
        self._long_waits: dict[int, asyncio.Task[bool]] = {}
        super().__init__(
            _FetchClient(client),
            subscriptions,
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            auto_offset_reset="earliest",
        )

    def end_waits(self) -> None:
        """Ask anew, with the partitions and offsets that are right now."""
        for fetch in self._long_waits.values():
            fetch.cancel()

    def _get_actions_per_node(self, assignment: Any) -> Any:
        terms = fetch_terms(self._idle_seconds())
        self._fetch_min_bytes, self._fetch_max_wait_ms = terms
        fetches, resets, timeout, *others = super()._get_actions_per_node(assignment)
        if resets:  # the log does not have an offset that it had
            self._on_change()
        if terms.wait_ms > _BUSY_WAIT_MS:
            timeout = terms.wait_ms / 1000  # what ends a wait wakes the fetcher: it need not look five times a second
        return fetches, resets, timeout, *others

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        if request._max_wait_ms <= _BUSY_WAIT_MS:
            is_fetched: bool = await super()._proc_fetch_request(assignment, node_id, request)
            return is_fetched
        fetch = self._long_waits[node_id] = asyncio.create_task(super()._proc_fetch_request(assignment, node_id, request))
        try:
            return await fetch
        except asyncio.CancelledError:  # as aiokafka's own: of no interest any more
            return False
        finally:
            del self._long_waits[node_id]
            if fetch.cancelling():
                self._client.end_fetch(node_id)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
