"""Fetches that wait long: only while nothing comes, never past a seek, and over a connection of their own."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from hypothesis import given
from hypothesis import strategies as st

from ops import long_poll
from ops.long_poll import LongPoll, wait_ms

SHORTEST, LONGEST = 50, 400
LONG_AGO = 3600.0
NODE = 1
PATIENCE = 5.0
Partition = tuple[Any, ...]
EMPTY: Partition = (0, 0, 7, 7, 0, [], -1, b"")
RECORDS: Partition = (0, 0, 8, 8, 0, [], -1, b"record")
ERROR: Partition = (0, 6, -1, -1, 0, [], -1, b"")


class Connection:
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class Client:
    """Answers fetches with what was put into ``answers``; waits while that is empty."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, Any]] = []
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.connection = Connection()
        self._conns: dict[Any, Connection] = {}

    async def send(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        self.sent.append((request, group))
        self._conns[node_id, group] = self.connection
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """A consumer's client under long polls."""

    def __init__(self) -> None:
        self.client = Client()
        self.unread: dict[str, str] = {}
        self.failures = 0
        consumer: Any = SimpleNamespace(_client=self.client, _fetch_max_wait_ms=SHORTEST, _fetcher=SimpleNamespace(_records=self.unread))
        self.polling = LongPoll(consumer, longest_ms=LONGEST, on_failure=self._failed)

    def _failed(self) -> None:
        self.failures += 1

    def fall_silent(self) -> None:
        """Nothing has come for long."""
        self.polling._active_at[NODE] = asyncio.get_running_loop().time() - LONG_AGO

    def begin(self, min_bytes: int = 1 << 20) -> asyncio.Task[Any]:
        request = FetchRequest(SHORTEST, min_bytes, 1 << 23, 0, [("events", [(0, 7, 1 << 20)])])
        return asyncio.create_task(self.client.send(NODE, request))

    async def fetch(self, partition: Partition) -> Any:
        self.client.answers.put_nowait(SimpleNamespace(topics=[("events", [partition])]))
        return await self.begin()

    @property
    def terms(self) -> list[tuple[int, int]]:
        """How long each fetch could wait, and for how many bytes."""
        return [(request._max_wait_ms, request._min_bytes) for request, _ in self.client.sent]


async def asleep(world: World) -> asyncio.Task[Any]:
    """A long fetch under way."""
    world.fall_silent()
    fetching = world.begin()
    while not world.client.sent:
        await asyncio.sleep(0)
    return fetching


@given(st.floats(0, 1e6), st.integers(1, 1000), st.integers(1, 100))
def test_a_wait_is_the_configured_one_or_as_long_as_nothing_came(quiet: float, shortest: int, factor: int) -> None:
    wait = wait_ms(quiet, shortest, shortest * factor)
    assert shortest <= wait <= shortest * factor
    if quiet < 0.5:
        assert wait == shortest
    else:
        assert wait == max(shortest, min(round(quiet * 1000), shortest * factor))


@given(st.lists(st.floats(0, 100), min_size=2, max_size=2).map(sorted))
def test_a_longer_silence_never_makes_a_shorter_wait(silences: list[float]) -> None:
    before, after = (wait_ms(silence, SHORTEST, LONGEST) for silence in silences)
    assert before <= after


async def test_fetches_gather_until_nothing_has_come_for_a_while() -> None:
    """Under a light load a fetch that returned with the first record would make work of a few events each."""
    world = World()
    for _ in range(3):
        await world.fetch(EMPTY)
    world.fall_silent()
    await world.fetch(EMPTY)
    assert world.terms == [(SHORTEST, 1 << 20)] * 3 + [(LONGEST, 1)]


@pytest.mark.parametrize("partition", [RECORDS, ERROR])
async def test_after_records_or_an_error_fetches_are_as_configured(partition: Partition) -> None:
    world = World()
    world.fall_silent()
    for each in (partition, EMPTY):
        await world.fetch(each)
    assert world.terms == [(LONGEST, 1), (SHORTEST, 1 << 20)]


@pytest.mark.parametrize(("min_bytes", "gathers"), [(1 << 20, True), (1, False)])
async def test_the_first_record_waits_a_moment_where_fetches_gather(monkeypatch: pytest.MonkeyPatch, min_bytes: int, gathers: bool) -> None:
    """A tail, which does not, tells it at once."""
    monkeypatch.setattr(long_poll, "_GATHER_SECONDS", LONG_AGO)
    world = World()
    world.fall_silent()
    world.client.answers.put_nowait(SimpleNamespace(topics=[("events", [RECORDS])]))
    fetching = world.begin(min_bytes)
    done, _ = await asyncio.wait({fetching}, timeout=0.05 if gathers else PATIENCE)
    assert bool(done) is not gathers
    fetching.cancel()


async def test_a_long_wait_changes_nothing_else_of_a_fetch() -> None:
    world = World()
    await world.fetch(EMPTY)
    world.fall_silent()
    await world.fetch(EMPTY)
    (short, _), (patient, _) = world.client.sent
    for name in ("_max_bytes", "_isolation_level", "_topics", "_rack_id"):
        assert getattr(short, name) == getattr(patient, name)


async def test_no_wait_is_long_while_something_fetched_is_not_yet_taken() -> None:
    """The fetch is without its partition, which would stand still until the wait ends (streaming facts §1.4)."""
    world = World()
    world.fall_silent()
    world.unread["partition"] = "records"
    await world.fetch(EMPTY)
    world.unread.clear()
    await world.fetch(EMPTY)
    assert world.terms == [(SHORTEST, 1 << 20), (LONGEST, 1)]


async def test_an_interrupted_wait_tells_nothing_and_gives_up_its_connection() -> None:
    """The broker would answer the next fetch over it only after this one."""
    world = World()
    fetching = await asleep(world)
    world.polling.interrupt()
    async with asyncio.timeout(PATIENCE):
        response = await fetching
    assert not list(response.topics)
    assert world.client.connection.closed == 1
    assert (NODE, "fetch") not in world.client._conns


async def test_a_wait_whose_partitions_were_taken_away_gives_up_its_connection() -> None:
    """aiokafka cancels its fetches when partitions are assigned anew, and asks for the new ones at once."""
    world = World()
    fetching = await asleep(world)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert world.client.connection.closed == 1


async def test_a_short_fetch_is_not_interrupted() -> None:
    world = World()
    fetching = world.begin()
    await asyncio.sleep(0)
    world.polling.interrupt()
    world.client.answers.put_nowait(SimpleNamespace(topics=[("events", [EMPTY])]))
    assert list((await fetching).topics)
    assert world.client.connection.closed == 0


async def test_a_fetch_that_fails_is_told_and_the_next_ones_are_short() -> None:
    """A broker that was away may come back with a group that this consumer is no member of."""
    world = World()
    world.fall_silent()
    world.client.answers.put_nowait(KafkaConnectionError())
    with pytest.raises(KafkaConnectionError):
        await world.begin()
    await world.fetch(EMPTY)
    assert world.failures == 1
    assert world.terms[-1] == (SHORTEST, 1 << 20)


async def test_an_error_of_a_partition_is_told() -> None:
    """Its topic may be another one now, or the log may have lost what was to be read."""
    world = World()
    await world.fetch(RECORDS)
    assert world.failures == 0
    await world.fetch(ERROR)
    assert world.failures == 1


async def test_fetches_have_a_connection_of_their_own_and_other_requests_have_not() -> None:
    """Metadata and offsets would wait behind a fetch."""
    world = World()
    await world.fetch(EMPTY)
    world.client.answers.put_nowait("metadata")
    assert await world.client.send(NODE, MetadataRequest([])) == "metadata"
    assert [group for _, group in world.client.sent] == ["fetch", ConnectionGroup.DEFAULT]


def test_aiokafka_still_sends_its_fetches_by_this_method() -> None:
    """Long polls rest on internals of one release; this says at once when another one is installed."""
    assert "await self._client.send(node_id, request)" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    assert list(inspect.signature(AIOKafkaClient.send).parameters) == ["self", "node_id", "request", "group"]
    assert "conn_id = (node_id, group)" in inspect.getsource(AIOKafkaClient._get_conn)
    assert "self._fetch_max_wait_ms" in inspect.getsource(AIOKafkaConsumer.__init__)
    assert "self._records" in inspect.getsource(fetcher.Fetcher._get_actions_per_node)
    wanted = {"self", "max_wait_time", "min_bytes", "max_bytes", "isolation_level", "topics", "rack_id"}
    assert set(inspect.signature(FetchRequest.__init__).parameters) == wanted
