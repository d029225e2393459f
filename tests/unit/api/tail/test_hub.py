"""What the hub makes of channels that end, of records that nobody can read, and of a topic that goes away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from api.tail import frames
from api.tail.catchup import Page
from api.tail.channel import NOWHERE, Channel, Wanted
from api.tail.client import Client, Ended
from api.tail.frames import Told
from api.tail.hub import Hub
from api.tail.logs import Logs
from api.tail.matching import Matches
from api.tail.position import Audience
from ops.metrics import Metrics
from schemas.codec import encode_stored
from schemas.event import StoredEvent
from schemas.tokens import event_tokens, word_tokens
from schemas.topics import Region
from tests.support.chains import Chain
from tests.support.keys import FakeClock
from tests.support.tail_world import COMPANY, PARTITIONS, POSITIONS, WORKSPACES, Follower, World, WorldCatchUp

COMPANY_WIDE = Audience(COMPANY, None)
MOST_PAGES = 20


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class HeldCatchUp(WorldCatchUp):
    """Its first page is held until it is let go; all are counted."""

    def __init__(self, world: World, audience: Audience, released: asyncio.Event, pages: list[int]) -> None:
        super().__init__(world, audience, None)
        self._released = released
        self._pages = pages

    async def page(self) -> Page:
        page = await super().page()
        self._pages.append(len(page.steps))
        await self._released.wait()
        return page


async def test_a_hole_found_as_a_channel_begins_sends_its_readers_to_postgres_once() -> None:
    world, released, pages = World(), asyncio.Event(), list[int]()
    hub, audience = world.hub(), Audience(COMPANY, WORKSPACES[1])
    wanted = Wanted(audience, (), Matches())
    other = Follower(world, COMPANY_WIDE)
    other.connect(hub)
    await turns(30)
    assert hub.is_live
    clients = [Client(hub, HeldCatchUp(world, audience, released, pages), wanted, POSITIONS, poll_seconds=lambda: 0.0) for _ in range(2)]

    async def take(_piece: bytes) -> None:
        await asyncio.sleep(0)

    running = [asyncio.create_task(client.run(take)) for client in clients]
    await turns(30)
    for _ in range(2):
        world.store(WORKSPACES[1])
    world.lose(PARTITIONS[WORKSPACES[1]])
    world.announce(PARTITIONS[WORKSPACES[1]], 1)
    await turns(30)
    released.set()
    await turns(200)
    assert all(client.is_following for client in clients)
    assert len(pages) < MOST_PAGES
    for task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await other.cut()
    await hub.stop()


async def test_words_are_read_once_for_all_channels_and_never_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = list[int]()

    def tokens(event: StoredEvent) -> list[int]:
        threads.append(threading.get_ident())
        return event_tokens(event)

    monkeypatch.setattr(frames, "event_tokens", tokens)
    world = World()
    hub, audience = world.hub(), Audience(COMPANY, WORKSPACES[0])
    word = frozenset(word_tokens(COMPANY, ["login"]))
    world.store(WORKSPACES[0])
    clients = [
        Client(hub, WorldCatchUp(world, audience, None), Wanted(audience, ((name, ""),), Matches((), word)), POSITIONS, poll_seconds=float)
        for name in "ab"
    ]

    async def take(_piece: bytes) -> None:
        await asyncio.sleep(0)

    running = [asyncio.create_task(client.run(take)) for client in clients]
    async with asyncio.timeout(10):
        while not all(client.is_following for client in clients):
            await asyncio.sleep(0)
        of_pages = len(threads)
        for _ in range(3):
            world.store(WORKSPACES[0])
        world.announce(PARTITIONS[WORKSPACES[0]], 4)
        while not all(client.channel and client.channel.progress.seqs[WORKSPACES[0]] == 4 for client in clients):
            await asyncio.sleep(0)
    assert of_pages
    assert len(threads) - of_pages <= 4
    assert threading.get_ident() not in threads
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await hub.stop()


def record(event: StoredEvent | None, key: bytes | None) -> SimpleNamespace:
    value = b"nonsense" if event is None else encode_stored(event)
    return SimpleNamespace(key=key, value=value, partition=0, offset=0, timestamp=0)


class Scripted:
    """A topic with one batch of records; the broker answers as it is told to."""

    def __init__(self, records: list[SimpleNamespace], clock: FakeClock) -> None:
        self.is_away = False
        self._records = records
        self._clock = clock

    async def start(self) -> None:
        if self.is_away:
            raise ConnectionError

    async def fetch(self, seconds: float) -> Sequence[Any]:
        await asyncio.sleep(0)
        self._clock.now += seconds
        found, self._records = self._records, []
        return found

    async def topic_id(self) -> UUID | None:
        if self.is_away:
            raise ConnectionError
        return None

    async def stop(self) -> None:
        """Nothing to stop."""


def hub_of(records: list[SimpleNamespace]) -> tuple[Hub, Scripted, FakeClock]:
    clock = FakeClock()
    topic = Scripted(records, clock)
    return Hub(Region.US, lambda: topic, Logs(POSITIONS, 16, 1 << 20), clock, Metrics(CollectorRegistry())), topic, clock


class Held(Told):
    """One whose words take until it is let go."""

    def __init__(self, told: Told, held: Callable[[], bool]) -> None:
        super().__init__(told.event, told.partition)
        self._held = held

    def has(self, tokens: AbstractSet[int]) -> bool:
        return self._held()


class Idle:
    """It needs nothing."""

    def __init__(self) -> None:
        self.at = NOWHERE
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def listened(hub: Hub, *audiences: Audience) -> list[Channel]:
    return [hub.subscribe(Wanted(audience, (), Matches()), Idle()) for audience in audiences]


AUDIENCES = (COMPANY_WIDE, Audience(COMPANY, WORKSPACES[0]), Audience(COMPANY, WORKSPACES[1]))


@pytest.mark.parametrize(
    ("key", "ended"), [(WORKSPACES[0].encode(), [True, True, False]), (None, [True, True, True]), (b"\xff", [True, False, False])]
)
async def test_a_record_that_nobody_can_read_ends_the_channels_it_may_belong_to(key: bytes | None, ended: list[bool]) -> None:
    hub, _, _ = hub_of([record(None, key)])
    channels = listened(hub, *AUDIENCES)
    await turns(50)
    assert [channel.is_over for channel in channels] == ended
    assert hub.is_live
    await hub.stop()


async def test_a_record_without_a_key_is_whose_its_event_says() -> None:
    world = World()
    world.store(WORKSPACES[0])
    hub, _, _ = hub_of([record(world.stored[0], None)])
    channels = listened(hub, *AUDIENCES)
    await turns(50)
    assert [channel.end for channel in channels] == [1, 1, 0]
    assert hub.is_live
    await hub.stop()


async def test_a_process_that_has_lost_its_broker_ends_its_channels_and_claims_to_have_heard_nothing() -> None:
    hub, topic, clock = hub_of([])
    (channel,) = listened(hub, COMPANY_WIDE)
    await turns(100)
    assert hub.heard_at > 0
    topic.is_away = True
    lost_at = clock.micros()
    async with asyncio.timeout(10):
        while hub.is_live:
            await asyncio.sleep(0)
    assert channel.is_over
    assert clock.micros() - lost_at < 60_000_000
    assert hub.heard_at <= lost_at
    await hub.stop()


async def test_readers_are_woken_within_a_batch_of_large_events() -> None:
    chain = Chain(COMPANY, WORKSPACES[0], Region.US)
    large = [chain.event(metadata=b'{"text":"%b"}' % (b"x" * 100_000)) for _ in range(50)]
    hub, _, _ = hub_of([record(event, WORKSPACES[0].encode()) for event in large])
    reader = Idle()
    channel = hub.subscribe(Wanted(COMPANY_WIDE, (), Matches()), reader)
    while channel.end < len(large):
        await asyncio.sleep(0)
    assert reader.woken >= 4
    await hub.stop()


async def test_what_is_announced_does_not_wait_for_the_words_of_pages() -> None:
    world = World()
    world.store(WORKSPACES[0])
    hub, _, _ = hub_of([record(world.stored[0], WORKSPACES[0].encode())])
    channel = hub.subscribe(Wanted(COMPANY_WIDE, (), Matches((), frozenset({1}))), Idle())
    is_held, may_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held() -> bool:
        loop.call_soon_threadsafe(is_held.set)
        return may_go.wait(10)

    paging = asyncio.create_task(hub.words.read([Held(Told(world.stored[0], 0), held)]))
    try:
        await is_held.wait()
        async with asyncio.timeout(5):
            while channel.end == 0:
                await asyncio.sleep(0)
        assert not paging.done()
    finally:
        may_go.set()
        await paging
        await hub.stop()


async def test_a_stream_that_ends_with_its_process_has_its_client_wait_before_it_comes_back() -> None:
    world, told = World(), list[bytes]()
    hub = world.hub()
    client = Client(hub, WorldCatchUp(world, COMPANY_WIDE, None), Wanted(COMPANY_WIDE, (), Matches()), POSITIONS, poll_seconds=float)

    async def take(piece: bytes) -> None:
        told.append(piece)

    running = asyncio.create_task(client.run(take))
    await turns(50)
    client.end(Ended.SHUTDOWN)
    await running
    name, milliseconds = told[-1].split(b": ")
    assert name == b"retry"
    assert 1000 <= int(milliseconds) <= 5000
    assert told[-1].endswith(b"\n\n")
    await hub.stop()
