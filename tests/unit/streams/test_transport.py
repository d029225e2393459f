"""The hook rests on internals of one Faust release; this says at once when another one is installed."""

import inspect
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams import transport
from streams.transport import ChunkApp, ChunkConsumer, ChunkConsumerThread


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [
        (ChunkConsumer, driver.Consumer, "seek_to_committed"),
        (ChunkConsumer, Consumer, "getmany"),
        (ChunkConsumer, Consumer, "_add_gap"),
        (ChunkConsumer, Consumer, "_filter_committable_offsets"),
        (ChunkConsumer, Consumer, "verify_event_path"),
        (ChunkConsumer, driver.Consumer, "_new_consumer_thread"),
        (ChunkConsumerThread, driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
        (ChunkConsumerThread, driver.AIOKafkaConsumerThread, "on_start"),
        (ChunkConsumerThread, driver.AIOKafkaConsumerThread, "_seek_wait"),
    ],
)
def test_each_override_still_replaces_a_method_with_the_same_parameters(ours: type, theirs: type, name: str) -> None:
    """A renamed method would silently bring back stock behaviour, which loses events."""
    assert list(inspect.signature(getattr(ours, name)).parameters) == list(inspect.signature(getattr(theirs, name)).parameters)


def test_faust_still_races_each_message_against_the_suspension_of_the_flow() -> None:
    """`wait_first` is cut short for exactly that call; another caller or shape must be looked at."""
    source = inspect.getsource(Consumer._drain_messages)
    assert "await self.wait_first(" in source
    assert "callback(message), self.suspend_flow.wait()" in source


def test_faust_still_seeks_after_every_rebalance_and_when_fetching_while_suspended() -> None:
    """Positions of Postgres reach the fetcher through this one method."""
    assert "await self.seek_to_committed()" in inspect.getsource(Consumer.perform_seek)


def test_the_app_still_makes_its_consumer_and_transport_by_these_methods() -> None:
    """Otherwise the stock consumer would run."""
    for name in ("_new_consumer", "_new_transport"):
        assert name in vars(ChunkApp)
        assert callable(getattr(ChunkApp.__mro__[1], name))


def test_chunks_hold_at_most_so_many_bytes_and_one_record_at_least() -> None:
    """The largest legal record alone may exceed the bound."""
    consumer = ChunkConsumer.__new__(ChunkConsumer)
    consumer.chunk_bytes = 10
    records = [SimpleNamespace(value=b"x" * size) for size in (4, 6, 1, 25, 3, 0)]
    chunks = [[len(record.value) for record in chunk] for chunk in consumer._chunks(records)]
    assert chunks == [[4, 6], [1], [25], [3, 0]]


def test_the_brokers_hint_is_the_end_of_the_last_chunk_even_if_chunks_are_not_adjacent() -> None:
    """Stock logic takes offsets inside a chunk for holes and would never commit."""
    consumer = ChunkConsumer.__new__(ChunkConsumer)
    tp = TP("t", 0)
    consumer._acked = {tp: [499, 999]}
    consumer._acked_index = {tp: {499, 999}}
    consumer._committed_offset = {tp: 10}
    assert consumer._filter_committable_offsets([tp]) == {tp: 1000}
    assert consumer._filter_committable_offsets([tp]) == {}


class _Unreachable:
    """A consumer that finds no broker ``failures`` times."""

    def __init__(self, failures: list[KafkaConnectionError]) -> None:
        self._failures = failures
        self.is_stopped = False

    async def start(self) -> None:
        if self._failures:
            raise self._failures.pop()

    async def stop(self) -> None:
        self.is_stopped = True


async def test_a_broker_that_is_away_again_when_the_consumer_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has seen it a moment before; ending the process would take its other regions' partitions along."""
    failures, made = [KafkaConnectionError(), KafkaConnectionError()], list[_Unreachable]()

    class Thread(ChunkConsumerThread):
        def __init__(self) -> None:
            self._consumer = self.thread_loop = None

        should_stop = False

        def _create_consumer(self, loop: object) -> _Unreachable:
            made.append(_Unreachable(failures))
            return made[-1]

    monkeypatch.setattr(transport, "_RECONNECT_SECONDS", 0)
    await Thread().on_start()
    assert [consumer.is_stopped for consumer in made] == [True, True, False]
