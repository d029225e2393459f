"""How Faust is made to fit: chunks instead of messages, positions from Postgres instead of the broker's offsets.

Stock Faust acks what it failed to process, pays 80 µs a message, and hard-codes a fetch wait that
stalls busy partitions behind idle ones. Each override says which behaviour of faust-streaming 0.15.3
it replaces; the release is pinned, and ``tests/unit/streams/test_transport.py`` fails when one of these
methods is no longer there to be replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from ops.long_poll import LongPoll

Positions = Callable[[Iterable[TP]], Awaitable[Mapping[TP, int]]]
"""Kafka offsets to go on from, of those partitions whose position is known."""
_POLL_SECONDS, _BUFFERED_POLL_SECONDS = 1.0, 0.02
_FETCHER_SECONDS = 2.0
# The broker gathers for so long, or until there is this much of all partitions together. A fetch that returns with the first
# record makes work of a few events each. Not above what one partition alone may fill, or its backlog would wait for nothing.
_FETCH_WAIT_MS = 50
_FETCH_MIN_BYTES = 1 << 20
_METADATA_AGE_MS = 5_000
_RECONNECT_SECONDS = 1.0


class ChunkConsumer(driver.Consumer):
    """Yields one message per chunk of a partition: ``value`` is the list of its records."""

    positions: Positions
    chunk_bytes: int
    aiokafka_arguments: Mapping[str, Any]
    on_fetch_failure: Callable[[], None]

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Called after every rebalance, before the flow resumes: seek where Postgres says, else where Kafka does."""
        wanted = dict(await self.positions(self.assignment()))
        if len(wanted) < len(self.assignment()):
            # Postgres is away. A hint will do: the contiguity check under the row lock catches what is off.
            committed = await super().seek_to_committed()
            wanted = {tp: offset for tp, offset in committed.items() if offset is not None} | wanted
        known = {tp: offset for tp, offset in wanted.items() if offset >= 0}
        if known:
            await self._thread.seek_wait(known)
        return known

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - Faust's signature
        """Stock: one message a record, interleaved by a scheduler."""
        # Records that come end the wait. Nothing does when the actor of a full partition catches up, whose records were fetched long ago.
        records, active = await self._wait_next_records(
            _BUFFERED_POLL_SECONDS if self._buffered_partitions else min(timeout, _POLL_SECONDS)
        )
        generation = self.app.consumer_generation_id
        if not records or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for tp, fetched in records.items():
            for chunk in self._chunks(fetched):
                if not self.flow_active or self.app.consumer_generation_id != generation:
                    return
                if active is None or tp in active or tp in self._buffered_partitions:
                    message = self._to_message(tp, chunk[-1])
                    message.value = chunk
                    yield tp, message

    def _chunks(self, records: Sequence[Any]) -> Iterator[Sequence[Any]]:
        start = size = 0
        for index, record in enumerate(records):
            size += len(record.value or b"")
            if size > self.chunk_bytes and index > start:
                yield records[start:index]
                start, size = index, len(record.value or b"")
        yield records[start:]

    async def wait_first(self, *waited: Coroutine[Any, Any, Any], timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as above
        """Stock: four tasks for each message of ``_drain_messages``, which always passes two coroutines."""
        if len(waited) == 2 and asyncio.iscoroutine(waited[1]):
            waited[1].close()
            await waited[0]
            return None
        return await super().wait_first(*waited, timeout=timeout)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Stock: remembers offsets between messages as holes. Here they are the inside of a chunk."""

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """The broker's offset is a hint for ``seek_to_committed`` without Postgres: the end of the last chunk that finished."""
        committable = {}
        for tp in tps:
            acked = self._acked[tp]
            if acked:
                offset = max(acked) + 1
                acked.clear()
                self._acked_index[tp].clear()
                if self._should_commit(tp, offset):
                    committable[tp] = offset
        return committable

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Stock: complains of streams it believes slow. The worker's watchdog judges by the stored position instead."""


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):
    """Makes the aiokafka consumer with our fetch settings."""

    _polling: LongPoll

    async def on_start(self) -> None:
        """Stock: a broker that went away again since the worker found it ends the process."""
        while True:
            try:
                await super().on_start()
            except KafkaConnectionError:
                if self._consumer is not None:
                    await self._consumer.stop()
                if self.should_stop:
                    raise
                await asyncio.sleep(_RECONNECT_SECONDS)
            else:
                return

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:  # noqa: ARG002 - as above
        """Stock: ``fetch_max_wait_ms=1500``, during which busy partitions stand still (streaming facts §1.4)."""
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        consumer = AIOKafkaConsumer(
            **self.consumer.aiokafka_arguments,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # with the contiguity check; "latest" would lose
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            # A broker just restarted may answer that it knows no topics. A group leader that believes it assigns nothing to
            # anybody until it asks again: after 5 minutes by default, in which the whole group is deaf.
            metadata_max_age_ms=_METADATA_AGE_MS,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_min_bytes=_FETCH_MIN_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            consumer_timeout_ms=int(_FETCHER_SECONDS * 1000),
        )
        self._polling = LongPoll(consumer, on_failure=lambda: self.parent_loop.call_soon_threadsafe(self.consumer.on_fetch_failure))
        return consumer

    async def _seek_wait(self, consumer: AIOKafkaConsumer, partitions: Mapping[TP, int]) -> None:
        """Stock: a partition is fetched from its new position once the fetch under way is answered."""
        await super()._seek_wait(consumer, partitions)
        self._polling.interrupt()


class ChunkApp(faust.App):
    """A Faust app that reads chunks."""

    positions: Positions
    chunk_bytes: int
    aiokafka_arguments: Mapping[str, Any]
    on_fetch_failure: Callable[[], None]

    def _new_consumer(self) -> ChunkConsumer:
        consumer: ChunkConsumer = super()._new_consumer()
        consumer.positions = self.positions
        consumer.chunk_bytes = self.chunk_bytes
        consumer.aiokafka_arguments = self.aiokafka_arguments
        consumer.on_fetch_failure = self.on_fetch_failure
        return consumer

    def _new_transport(self) -> driver.Transport:
        transport = super()._new_transport()
        transport.Consumer = ChunkConsumer
        return transport
