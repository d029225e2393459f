"""The tail on the real stack: nothing is missed and nothing told twice, whatever is cut, restarted or away."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

from ops.seed import Tenant
from tests.support.stack import LocalStack, running_stack
from tests.support.tailing import Connection, Cut, tailing

LEAST = {"category": "auth", "action": "user.login"}
CUTS = 50


def bearer(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@dataclass
class Site:
    """The stack, a company and a client."""

    stack: LocalStack
    tenant: Tenant
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return self.stack.base_url

    async def post(self, number: int, *events: dict[str, Any]) -> None:
        """Send events, one at least, to the company's workspace with that number."""
        bodies = [LEAST | event for event in events or ({},)]
        answer = await self.client.post("/v1/events/batch", json=bodies, headers=bearer(self.tenant.workspaces[number].key))
        assert answer.status_code == 202, answer.text

    async def store(self, number: int = 0, event: dict[str, Any] | None = None) -> Any:
        """The same of one event; returns it as stored."""
        headers = bearer(self.tenant.workspaces[number].key) | {"Prefer": "wait=30"}
        answer = await self.client.post("/v1/events", json=LEAST | (event or {}), headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def stored(self) -> dict[str, list[str]]:
        """The ids of what the company's workspaces hold, in order of seq."""
        rows = self.sql("SELECT workspace_id, id FROM events WHERE company_id = %s ORDER BY workspace_id, seq", self.tenant.id)
        found: dict[str, list[str]] = defaultdict(list)
        for workspace_id, event_id in rows:
            found[str(workspace_id)].append(str(event_id))
        return found

    def sql(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.superuser_url(), autocommit=True) as connection:
            cursor = connection.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack of its own: its gateway is killed, its broker stopped."""
    with running_stack() as running:
        yield running


@pytest.fixture
async def site(stack: LocalStack) -> AsyncIterator[Site]:
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=40) as client:
        yield Site(stack, stack.tenant(workspaces=3), client)


def keys_of(site: Site) -> tuple[str | None, str | None]:
    return site.tenant.workspaces[0].key, site.tenant.key


async def test_an_event_comes_as_a_query_shows_it(site: Site) -> None:
    for key in keys_of(site):
        async with tailing(site.url, key) as tail:
            assert tail.response.headers["content-type"] == "text/event-stream"
            assert tail.response.headers["cache-control"] == "no-store"
            assert tail.response.headers["x-accel-buffering"] == "no"
            stored = await site.store()
            assert await tail.event() == stored


async def test_it_begins_in_the_past_or_behind_a_position(site: Site) -> None:
    first, second, third = [await site.store() for _ in range(3)]
    for key in keys_of(site):
        async with tailing(site.url, key, since=second["receivedAt"]) as tail:
            assert await tail.events(2) == [second, third]
        async with tailing(site.url, key, since="2020-01-01T00:00:00Z") as tail:
            assert await tail.event() == first
            behind_first = tail.position
            assert await tail.event() == second
            behind_second = tail.position
        async with tailing(site.url, key, behind_second) as tail:
            assert await tail.event() == third
        async with tailing(site.url, key, lastEventId=behind_first) as tail:
            assert await tail.event() == second
        async with tailing(site.url, key, behind_second, lastEventId=behind_first, since="2020-01-01T00:00:00Z") as tail:
            assert await tail.event() == third


@dataclass
class Follower:
    """A client that is cut again and again, goes on behind the last event it saw, and keeps what it was told."""

    site: Site
    key: str | None
    position: str
    longest: int
    told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cuts: int = 0

    async def follow(self, stored: asyncio.Future[dict[str, list[str]]]) -> None:
        """Follow until all is ``stored``, and as many events were told."""
        rng = random.Random(self.longest)
        while not self._has_all(stored):
            with suppress(Cut, TimeoutError, OSError):
                async with asyncio.timeout(5), tailing(self.site.url, self.key, self.position) as tail:
                    await self._take(tail, rng.randint(1, self.longest), stored)
            self.cuts += 1

    async def _take(self, tail: Connection, most: int, stored: asyncio.Future[dict[str, list[str]]]) -> None:
        for _ in range(most):
            if self._has_all(stored):
                return
            event = await tail.event()
            self.told[event["workspaceId"]].append(event["id"])
            self.position = tail.position

    def _has_all(self, stored: asyncio.Future[dict[str, list[str]]]) -> bool:
        return stored.done() and sum(map(len, self.told.values())) >= sum(map(len, self.wanted(stored.result()).values()))

    def wanted(self, stored: dict[str, list[str]]) -> dict[str, list[str]]:
        """What of it is the key's."""
        own = str(self.site.tenant.workspaces[0].id)
        return stored if self.key == self.site.tenant.key else {own: stored[own]}


async def load(site: Site, batches: int) -> None:
    """Batches to every workspace at once. What is refused or lost on the way is nobody's event."""

    async def fill(number: int) -> None:
        for _ in range(batches):
            with suppress(httpx.HTTPError, AssertionError):
                await site.post(number, *({} for _ in range(20)))

    await asyncio.gather(*map(fill, range(3)))


async def test_a_client_that_is_cut_again_and_again_is_told_exactly_what_is_stored(site: Site, stack: LocalStack) -> None:
    """Fifty times and more, under load, while another company's events go the same way and the API is killed and started anew."""
    other = Site(stack, stack.tenant(workspaces=3), site.client)
    stored: asyncio.Future[dict[str, list[str]]] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as streams:
        begun = [await streams.enter_async_context(tailing(site.url, key)) for key in keys_of(site)]
    followers = [Follower(site, key, tail.here, longest) for key, tail, longest in zip(keys_of(site), begun, (25, 60), strict=True)]
    following = [asyncio.create_task(each.follow(stored)) for each in followers]
    await asyncio.gather(load(site, 30), load(other, 10))
    stack.parts.kill("gateway")
    await asyncio.to_thread(stack.parts.start, "gateway")
    await asyncio.to_thread(stack.parts.wait_ready, "gateway")
    await asyncio.gather(load(site, 30), load(other, 10))
    for number in range(3):
        await site.store(number)
    stored.set_result(site.stored())
    async with asyncio.timeout(60):
        await asyncio.gather(*following)
    for each in followers:
        assert each.told == each.wanted(stored.result())
        assert each.cuts >= CUTS
