"""What the hub makes of channels that end, of records that nobody can read, and of a topic that goes away."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from api.tail import frames
from api.tail.catchup import Page
from api.tail.channel import Wanted
from api.tail.client import Client
from api.tail.matching import Matches
from api.tail.position import Audience
from schemas.event import StoredEvent
from schemas.tokens import event_tokens, word_tokens
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
