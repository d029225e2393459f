"""Publishing to Kafka with a promise: a record is acknowledged by all in-sync replicas, or its caller is told in time.

Records for one partition form a lane. While a lane's batch is under way the next ones gather, so load
makes batches grow, and a record costs a list append and a future instead of aiokafka's ``send`` (8–13 µs).
One batch a lane is in flight, which keeps a lane's order even when batches are retried.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from ops import failures, log
from ops.kafka import MAX_RECORD_BYTES, KafkaError, MessageSizeTooLargeError

if TYPE_CHECKING:
    from ops.kafka import AIOKafkaProducer

_LOG = log.get(__name__)

Headers = list[tuple[str, bytes]]
_SWEEP_SECONDS = 0.25
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 2.0
_CLOSE_SECONDS = 1.0
_START_SHARE = 2
"""Of the time to acknowledge, before a producer that does not come up is given up for another."""
_OVERHEAD_BYTES = 4096  # of the batch and the record around a value


class Pushback(Exception):
    """Not sent: too much is waiting for acknowledgement already, or no producer is connected. Safe to send again."""


class AckTimeout(Exception):
    """Not acknowledged in time. The outcome is unknown: it may still be stored."""


class Record(NamedTuple):
    """What goes to Kafka."""

    key: bytes
    value: bytes
    headers: Headers


class _Entry:
    __slots__ = ("deadline", "done", "records", "settled", "size")

    def __init__(self, records: list[Record], size: int, deadline: float, done: asyncio.Future[None]) -> None:
        self.records = records
        self.size = size
        self.deadline = deadline
        self.done = done
        self.settled = False


class Publisher:
    """A producer that bounds what is unacknowledged, tells its callers in time, and replaces itself when it is stuck.

    A stuck producer is real: an idempotent one retries for ever, and after an unclean broker outage it may
    answer OutOfOrderSequenceNumber for ever (aiokafka #1017). Building a new one is safe, since
    doubles are dropped downstream: by seq on the events topic, by id and offset on the ingest topic.
    """

    def __init__(
        self,
        make_producer: Callable[[], AIOKafkaProducer],
        *,
        max_unacked_bytes: int,
        ack_timeout: float,
        on_rebuild: Callable[[], None] = lambda: None,
        on_ack: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """``make_producer`` makes an idempotent one; ``ack_timeout`` is in seconds.

        ``on_rebuild`` is called when a stuck producer is replaced, ``on_ack`` with a batch's seconds in flight.
        """
        self._make_producer = make_producer
        self._max_unacked = max_unacked_bytes
        self._ack_timeout = ack_timeout
        self._on_rebuild = on_rebuild
        self._on_ack = on_ack
        self._producer: AIOKafkaProducer | None = None
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._stuck = asyncio.Event()
        self._submitted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.unacked_bytes = 0
        self._last_ack = 0.0

    @property
    def connected(self) -> bool:
        """Whether a producer stands; it may still turn out to be stuck."""
        return self._producer is not None

    async def start(self) -> None:
        """Begin to connect. Returns at once: until it is connected, ``publish`` pushes back."""
        self._tasks = [asyncio.create_task(self._keep_connected()), asyncio.create_task(self._sweep())]

    async def stop(self, grace: float = 5.0) -> None:
        """Let what is in flight be acknowledged for ``grace`` seconds, then fail the rest with ``AckTimeout``."""
        pending = [entry.done for lane in self._lanes.values() for entry in lane.entries()]
        if pending:
            await asyncio.wait(pending, timeout=grace)
        pending_tasks = set(self._tasks)
        while pending_tasks:  # aiokafka's close swallows a cancellation that reaches it
            for task in pending_tasks:
                task.cancel()
            _, pending_tasks = await asyncio.wait(pending_tasks, timeout=_CLOSE_SECONDS)
        for lane in self._lanes.values():
            lane.fail(AckTimeout("the publisher was stopped"))
        await self._drop_producer()

    def submit(self, topic: str, partition: int, records: list[Record]) -> asyncio.Future[None]:
        """Queue records for a partition, in order. The future is done when all are acknowledged.

        Raises ``Pushback``, and ``MessageSizeTooLargeError`` for a record that no topic takes. The future fails with
        ``AckTimeout`` or ``KafkaError``.
        """
        if self._producer is None:
            raise Pushback("Kafka can't be reached")
        size = sum(len(record.key) + len(record.value) for record in records)
        if size > MAX_RECORD_BYTES - _OVERHEAD_BYTES and any(len(record.value) > MAX_RECORD_BYTES - _OVERHEAD_BYTES for record in records):
            raise MessageSizeTooLargeError
        if self.unacked_bytes + size > self._max_unacked and self.unacked_bytes:
            raise Pushback("too much waits for acknowledgement")
        loop = asyncio.get_running_loop()
        entry = _Entry(records, size, loop.time() + self._ack_timeout, loop.create_future())
        self.unacked_bytes += size
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(self, topic, partition)
        lane.add(entry)
        self._submitted.set()
        return entry.done

    async def publish(self, topic: str, partition: int, records: list[Record]) -> None:
        """Queue records for a partition and wait until all are acknowledged. Raises as ``submit``."""
        await self.submit(topic, partition, records)

    def settle(self, entry: _Entry, error: BaseException | None) -> None:
        """Tell an entry's caller. Called once for every entry, by its lane or by the sweeper."""
        if entry.settled:
            return
        entry.settled = True
        self.unacked_bytes -= entry.size
        if entry.done.done():  # its caller was cancelled
            return
        if error is None:
            entry.done.set_result(None)
        else:
            entry.done.set_exception(error)

    def acknowledged(self, seconds: float) -> None:
        """A batch was acknowledged after so many seconds in flight: the producer is alive."""
        self._alive()
        self._on_ack(seconds)

    def _alive(self) -> None:
        self._last_ack = asyncio.get_running_loop().time()

    def suspect(self) -> None:
        """A batch failed for good. Build a new producer: whatever the cause, this one's sequence numbers are out of step now."""
        self._stuck.set()

    @property
    def producer(self) -> AIOKafkaProducer | None:
        """The producer of the moment."""
        return self._producer

    async def _keep_connected(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            candidate = None
            try:
                candidate = self._make_producer()
                # Begun with the metadata of a starting broker, which names none, it would ask nobody for ever.
                async with asyncio.timeout(_START_SHARE * self._ack_timeout):
                    await candidate.start()
            except Exception as error:  # noqa: BLE001 - Kafka away, or a setting that a restart will bring: try again
                _LOG.warning("kafka is not reached", error=type(error).__name__)
                await _abandon(candidate)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
                continue
            except asyncio.CancelledError:
                await _abandon(candidate)
                raise
            pause = _FIRST_PAUSE
            self._stuck.clear()
            self._producer = candidate
            self._alive()
            for lane in self._lanes.values():
                lane.wake()
            await self._stuck.wait()
            _LOG.warning("a stuck producer is replaced")
            self._on_rebuild()
            await self._drop_producer()

    async def _drop_producer(self) -> None:
        old, self._producer = self._producer, None
        for lane in self._lanes.values():
            lane.abort()
        if old is not None:
            await _abandon(old)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not any(lane.entries() for lane in self._lanes.values()):
                self._submitted.clear()
                await self._submitted.wait()
                self._last_ack = max(self._last_ack, loop.time() - self._ack_timeout)
            await asyncio.sleep(_SWEEP_SECONDS)
            now = loop.time()
            waiting = False
            for lane in self._lanes.values():
                waiting = lane.expire(now) or waiting
            if waiting and self._producer is not None and now - self._last_ack > 2 * self._ack_timeout:
                self._stuck.set()
            elif not waiting:
                self._last_ack = max(self._last_ack, now - self._ack_timeout)


class _Lane:
    """The records on their way to one partition, in order."""

    def __init__(self, owner: Publisher, topic: str, partition: int) -> None:
        self._owner = owner
        self._topic = topic
        self._partition = partition
        self._queue: deque[_Entry] = deque()
        self._flying: list[_Entry] = []
        self._pump: asyncio.Task[None] | None = None

    def add(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self.wake()

    def wake(self) -> None:
        if self._pump is None and self._queue and self._owner.producer is not None:
            self._pump = asyncio.create_task(self._run())

    def entries(self) -> list[_Entry]:
        return [*self._flying, *self._queue]

    def expire(self, now: float) -> bool:
        """Tell those whose time is over; say whether anything was still waiting."""
        waiting = bool(self._flying)
        for entry in self._flying:
            if entry.deadline < now:
                self._owner.settle(entry, AckTimeout("no acknowledgement in time"))
        while self._queue and self._queue[0].deadline < now:
            self._owner.settle(self._queue.popleft(), AckTimeout("no acknowledgement in time"))
        return waiting

    def abort(self) -> None:
        """The producer is gone: what was in flight has an unknown outcome."""
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        flying, self._flying = self._flying, []
        for entry in flying:
            self._owner.settle(entry, AckTimeout("the producer was replaced"))

    def fail(self, error: Exception) -> None:
        self.abort()
        while self._queue:
            self._owner.settle(self._queue.popleft(), error)

    async def _run(self) -> None:
        try:
            while self._queue and (producer := self._owner.producer) is not None:
                await self._send(producer)
        finally:
            if self._pump is asyncio.current_task():  # else `abort` has let a new one take over
                self._pump = None

    async def _send(self, producer: AIOKafkaProducer) -> None:
        """Send what has gathered, in as few batches as it fits, and wait for the last acknowledgement."""
        self._flying = list(self._queue)
        self._queue.clear()
        error: BaseException | None = None
        began = perf_counter()
        try:
            acks = []
            batch = producer.create_batch()
            for entry in self._flying:
                for record in entry.records:
                    if batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                        acks.append(await producer.send_batch(batch, self._topic, partition=self._partition))
                        batch = producer.create_batch()
                        batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
            acks.append(await producer.send_batch(batch, self._topic, partition=self._partition))
            for ack in acks:
                await ack
            self._owner.acknowledged(perf_counter() - began)
        except KafkaError as failure:
            error = failure
            self._owner.suspect()
        except Exception as failure:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            _LOG.error("publishing failed", topic=self._topic, partition=self._partition, error=failures.summary(failure))
            error = AckTimeout(f"publishing failed: {type(failure).__name__}")
            self._owner.suspect()
        flying, self._flying = self._flying, []
        for entry in flying:
            self._owner.settle(entry, error)


async def _abandon(producer: AIOKafkaProducer | None) -> None:
    """Close a producer without waiting for its batches: ``stop`` would wait for a dead broker for ever."""
    if producer is None:
        return
    for close in (producer._sender.close, producer.client.close):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await close()
    producer._closed = True  # its destructor would complain
