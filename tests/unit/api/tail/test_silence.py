"""A connection is not silent for long, whatever its client has to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.tail import client, frames
from api.tail.catchup import Page
from api.tail.channel import Wanted
from api.tail.client import Client, Ended
from api.tail.matching import Matches
from api.tail.position import Audience
from schemas.problems import Unavailable
from tests.support.tail_world import COMPANY, POSITIONS, World, WorldCatchUp

AUDIENCE = Audience(COMPANY, None)


class SlowPages(WorldCatchUp):
    """Counts what is asked for, and does as it is told."""

    def __init__(self, world: World, answer: Callable[[], Awaitable[Page]]) -> None:
        super().__init__(world, AUDIENCE, None)
        self.asked = 0
        self._answer = answer

    async def page(self) -> Page:
        self.asked += 1
        return await self._answer()


async def hanging() -> Page:
    await asyncio.Event().wait()
    raise AssertionError


async def away() -> Page:
    raise Unavailable


@pytest.mark.parametrize("answer", [hanging, away])
async def test_comments_come_while_postgres_does_not_answer(answer: Callable[[], Awaitable[Page]], monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is asked no more often than all tails together may, though the channel wakes its readers."""
    monkeypatch.setattr(client, "_SILENT_SECONDS", 0.01)
    world = World()
    hub, pages = world.hub(), SlowPages(world, answer)
    one = Client(hub, pages, Wanted(AUDIENCE, (), Matches()), POSITIONS, poll_seconds=lambda: 60.0)
    told: list[bytes] = []

    async def take(piece: bytes) -> None:
        told.append(piece)
        for channel in hub.channels:
            channel.wake()

    running = asyncio.create_task(one.run(take))
    async with asyncio.timeout(10):
        while told.count(frames.COMMENT) < 5:
            one.wake()
            await asyncio.sleep(0)
    assert pages.asked == 1
    one.end(Ended.SHUTDOWN)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await hub.stop()
