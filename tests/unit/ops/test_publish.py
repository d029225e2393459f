"""The publisher: in order, bounded, never silent for longer than promised, and rid of a producer that is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber

from ops.kafka import MAX_RECORD_BYTES
from ops.publish import AckTimeout, Publisher, Pushback, Record

TIMEOUT = 0.3
PATIENCE = 5.0


class Batch:
    """Holds a few records, as aiokafka's does until it is full."""

    def __init__(self, capacity: int) -> None:
        self.records: list[tuple[bytes, Any]] = []
        self._capacity = capacity

    def append(self, *, timestamp: None, key: bytes, value: bytes, headers: Any) -> object | None:
        if len(self.records) == self._capacity:
            return None
        self.records.append((value, headers))
        return object()


class Broker:
    """What the producers of one publisher talk to; ``holding`` keeps acknowledgements back, ``fault`` fails batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[bytes]]] = []
        self.headers: list[Any] = []
        self.acks: list[asyncio.Future[None]] = []
        self.holding: set[int] = set()
        self.fault: Exception | None = None
        self.unreachable = 0
        self.silent = 0
        self.producers = 0
        self.capacity = 100

    def make_producer(self) -> Any:
        self.producers += 1
        closable = SimpleNamespace(close=self._close)
        return SimpleNamespace(
            start=self._start, create_batch=lambda: Batch(self.capacity), send_batch=self._send, _sender=closable, client=closable
        )

    async def _start(self) -> None:
        if self.silent:
            self.silent -= 1
            await asyncio.Event().wait()
        if self.unreachable:
            self.unreachable -= 1
            raise KafkaConnectionError

    async def _close(self) -> None: ...

    async def _send(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.batches.append((partition, [value for value, _ in batch.records]))
        self.headers += [headers for _, headers in batch.records]
        if self.fault is not None:
            ack.set_exception(self.fault)
        elif partition in self.holding:
            self.acks.append(ack)
        else:
            ack.set_result(None)
        return ack

    def acknowledge(self) -> None:
        """Let go of what is held."""
        self.holding.clear()
        for ack in self.acks:
            if not ack.done():
                ack.set_result(None)

    def values(self, partition: int) -> list[bytes]:
        return [value for number, batch in self.batches if number == partition for value in batch]


def record(value: bytes) -> Record:
    return Record(b"key", value, [("traceparent", value)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def rebuilt() -> list[None]:
    """One entry for each producer that was replaced."""
    return []


@pytest.fixture
async def publisher(broker: Broker, rebuilt: list[None]) -> AsyncIterator[Publisher]:
    made = Publisher(broker.make_producer, max_unacked_bytes=1000, ack_timeout=TIMEOUT, on_rebuild=lambda: rebuilt.append(None))
    await made.start()
    await until(lambda: made.connected)
    yield made
    broker.acknowledge()
    await made.stop()
    assert made.unacked_bytes == 0


async def test_an_acknowledged_record_is_published(broker: Broker, publisher: Publisher) -> None:
    await publisher.publish("t", 3, [record(b"a"), record(b"b")])
    assert broker.batches == [(3, [b"a", b"b"])]
    assert broker.headers == [[("traceparent", b"a")], [("traceparent", b"b")]]
    assert publisher.unacked_bytes == 0


async def test_before_it_is_connected_it_pushes_back() -> None:
    """At once: a producer waits for nothing when Kafka is away."""
    publisher = Publisher(Broker().make_producer, max_unacked_bytes=1000, ack_timeout=TIMEOUT)
    with pytest.raises(Pushback, match="can't be reached"):
        publisher.submit("t", 0, [record(b"a")])


async def test_it_goes_on_connecting_until_kafka_is_there(broker: Broker) -> None:
    broker.unreachable = 2
    publisher = Publisher(broker.make_producer, max_unacked_bytes=1000, ack_timeout=TIMEOUT)
    await publisher.start()
    await until(lambda: publisher.connected)
    await publisher.publish("t", 0, [record(b"a")])
    await publisher.stop()
    assert broker.producers == 3


async def test_a_producer_that_never_comes_up_is_given_up_for_another(broker: Broker) -> None:
    """aiokafka's asks nobody for ever, once a starting broker has told it of no brokers and gone away."""
    broker.silent = 2
    publisher = Publisher(broker.make_producer, max_unacked_bytes=1000, ack_timeout=TIMEOUT)
    await publisher.start()
    await until(lambda: publisher.connected)
    assert broker.producers == 3
    await publisher.stop()


async def test_what_comes_while_a_batch_is_under_way_gathers_in_one(broker: Broker, publisher: Publisher) -> None:
    broker.holding = {0}
    first = publisher.submit("t", 0, [record(b"1")])
    await until(lambda: bool(broker.batches))
    rest = [publisher.submit("t", 0, [record(b"%d" % number)]) for number in range(2, 6)]
    broker.acknowledge()
    await asyncio.gather(first, *rest)
    assert broker.batches == [(0, [b"1"]), (0, [b"2", b"3", b"4", b"5"])]


async def test_a_full_batch_is_followed_by_another(broker: Broker, publisher: Publisher) -> None:
    broker.capacity = 2
    await publisher.publish("t", 0, [record(b"%d" % number) for number in range(5)])
    assert broker.batches == [(0, [b"0", b"1"]), (0, [b"2", b"3"]), (0, [b"4"])]


async def test_one_partition_never_waits_for_another(broker: Broker, publisher: Publisher) -> None:
    broker.holding = {0}
    held = publisher.submit("t", 0, [record(b"a")])
    await publisher.publish("t", 1, [record(b"b")])
    assert not held.done()
    broker.acknowledge()
    await held


async def test_too_many_unacknowledged_bytes_push_back_until_some_are_acknowledged(broker: Broker, publisher: Publisher) -> None:
    broker.holding = {0}
    held = publisher.submit("t", 0, [record(bytes(600))])
    with pytest.raises(Pushback, match="too much"):
        publisher.submit("t", 1, [record(bytes(600))])
    await until(lambda: bool(broker.acks))
    broker.acknowledge()
    await held
    await publisher.publish("t", 1, [record(bytes(600))])


async def test_a_record_above_the_bound_passes_when_nothing_else_waits(publisher: Publisher) -> None:
    """Else the largest legal batch could never be sent under a small bound."""
    await publisher.publish("t", 0, [record(bytes(5000))])


async def test_callers_are_told_in_time(broker: Broker, publisher: Publisher) -> None:
    broker.holding = {0}
    began = asyncio.get_running_loop().time()
    flying = publisher.submit("t", 0, [record(b"a")])
    await until(lambda: bool(broker.acks))
    queued = publisher.submit("t", 0, [record(b"b")])
    for future in (flying, queued):
        with pytest.raises(AckTimeout, match="in time"):
            await future
    assert asyncio.get_running_loop().time() - began < TIMEOUT + 1
    assert publisher.unacked_bytes == 0


async def test_a_producer_without_a_sign_of_life_is_replaced(broker: Broker, publisher: Publisher, rebuilt: list[None]) -> None:
    broker.holding = {0}
    with pytest.raises(AckTimeout):
        await publisher.publish("t", 0, [record(b"a")])
    await until(lambda: bool(rebuilt) and publisher.connected)
    broker.holding = set()
    await publisher.publish("t", 0, [record(b"b")])
    assert (broker.producers, len(rebuilt)) == (2, 1)


async def test_an_idle_producer_is_not(broker: Broker, publisher: Publisher, rebuilt: list[None]) -> None:
    await publisher.publish("t", 0, [record(b"a")])
    await asyncio.sleep(3 * TIMEOUT)
    await publisher.publish("t", 0, [record(b"b")])
    assert (broker.producers, rebuilt) == (1, [])


async def test_a_batch_after_an_idle_spell_has_as_much_time_as_any(broker: Broker, publisher: Publisher, rebuilt: list[None]) -> None:
    """While nothing waits nobody looks, and the last sign of life grows old."""
    await publisher.publish("t", 0, [record(b"a")])
    await asyncio.sleep(3 * TIMEOUT)
    broker.holding = {0}
    held = publisher.submit("t", 0, [record(b"b")])
    await asyncio.sleep(0.9 * TIMEOUT)  # a sweep later
    broker.acknowledge()
    await held
    assert (broker.producers, rebuilt) == (1, [])


@pytest.mark.parametrize("fault", [OutOfOrderSequenceNumber(), KafkaConnectionError()])
async def test_a_producer_that_fails_a_batch_is_replaced(
    broker: Broker, publisher: Publisher, rebuilt: list[None], fault: KafkaError
) -> None:
    """After an unclean broker outage an idempotent producer may answer so for ever (aiokafka #1017)."""
    broker.fault = fault
    with pytest.raises(type(fault)):
        await publisher.publish("t", 0, [record(b"a")])
    broker.fault = None
    await until(lambda: bool(rebuilt) and publisher.connected)
    await publisher.publish("t", 0, [record(b"b")])
    assert broker.values(0) == [b"a", b"b"]


async def test_a_record_that_no_topic_takes_never_reaches_the_broker(publisher: Publisher, broker: Broker) -> None:
    """aiokafka's sequence numbers are out of step after such a batch, and the next one, somebody else's, would fail."""
    with pytest.raises(MessageSizeTooLargeError):
        publisher.submit("t", 0, [Record(b"key", bytes(MAX_RECORD_BYTES), [])])
    await publisher.publish("t", 0, [record(b"b")])
    assert (broker.values(0), broker.producers) == ([b"b"], 1)


async def test_what_is_queued_outlives_the_producer(broker: Broker, publisher: Publisher, rebuilt: list[None]) -> None:
    """It was never sent, so that sending it is safe; what was in flight is of unknown outcome."""
    broker.holding = {0}
    flying = publisher.submit("t", 0, [record(b"a")])
    await until(lambda: bool(broker.acks))
    queued = publisher.submit("t", 0, [record(b"b")])
    broker.holding = set()
    publisher.suspect()
    with pytest.raises(AckTimeout, match="replaced"):
        await flying
    await queued
    assert (broker.values(0), len(rebuilt)) == ([b"a", b"b"], 1)


async def test_a_caller_that_went_away_frees_its_bytes(broker: Broker, publisher: Publisher) -> None:
    broker.holding = {0}
    caller = asyncio.create_task(publisher.publish("t", 0, [record(bytes(900))]))
    await until(lambda: bool(broker.acks))
    caller.cancel()
    broker.acknowledge()
    await until(lambda: publisher.unacked_bytes == 0)
    assert broker.values(0) == [bytes(900)]


async def test_stopping_waits_for_what_is_in_flight(broker: Broker, publisher: Publisher) -> None:
    broker.holding = {0}
    held = publisher.submit("t", 0, [record(b"a")])
    await until(lambda: bool(broker.acks))
    stopping = asyncio.create_task(publisher.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    broker.acknowledge()
    await stopping
    assert held.exception() is None
    with pytest.raises(Pushback):
        publisher.submit("t", 0, [record(b"b")])


async def test_stopping_does_not_wait_for_ever(broker: Broker, publisher: Publisher) -> None:
    broker.holding = {0}
    held = publisher.submit("t", 0, [record(b"a")])
    await until(lambda: bool(broker.acks))
    await publisher.stop(grace=0.01)
    assert isinstance(held.exception(), AckTimeout)
