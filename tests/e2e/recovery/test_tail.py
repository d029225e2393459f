"""The tail on the real stack: nothing is missed and nothing told twice, whatever is cut, restarted or away."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.support.stack import LocalStack
from tests.support.tailed import Site, bearer
from tests.support.tailing import Connection, Cut, asking, tailing

CUTS = 50


@pytest.fixture
async def site(stack: LocalStack) -> AsyncIterator[Site]:
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=40) as client:
        yield Site(stack, stack.tenant(workspaces=3), client)


async def test_an_event_comes_as_a_query_shows_it(site: Site) -> None:
    for key in site.keys:
        async with tailing(site.url, key) as tail:
            assert tail.response.headers["content-type"] == "text/event-stream"
            assert tail.response.headers["cache-control"] == "no-store"
            assert tail.response.headers["x-accel-buffering"] == "no"
            stored = await site.store()
            assert await tail.event() == stored


async def test_it_begins_in_the_past_or_behind_a_position(site: Site) -> None:
    first, second, third = [await site.store() for _ in range(3)]
    for key in site.keys:
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
    """Events for every workspace at once."""
    await asyncio.gather(*(site.fill(number, batches, 20) for number in range(3)))


async def test_a_client_that_is_cut_again_and_again_is_told_exactly_what_is_stored(site: Site, stack: LocalStack) -> None:
    """Fifty times and more, under load, while another company's events go the same way and the API is killed and started anew."""
    other = Site(stack, stack.tenant(workspaces=3), site.client)
    stored: asyncio.Future[dict[str, list[str]]] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as streams:
        begun = [await streams.enter_async_context(tailing(site.url, key)) for key in site.keys]
    followers = [Follower(site, key, tail.here, longest) for key, tail, longest in zip(site.keys, begun, (25, 60), strict=True)]
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


FILTERED = [
    ({"category": "file"}, {"category": "file"}),
    ({"action": "file.*"}, {"action": "file.read"}),
    ({"outcome": "DENIED"}, {"outcome": "DENIED"}),
    ({"tenantId": "cust-1"}, {"tenantId": "cust-1"}),
    ({"actorId": "u-1"}, {"actor": {"id": "u-1"}}),
    ({"actorEmail": "ada@test"}, {"actor": {"email": "ada@test"}}),
    ({"resourceType": "door"}, {"resource": {"type": "door"}}),
    ({"resourceId": "d-1"}, {"resource": {"id": "d-1"}}),
    ({"q": "straße 42"}, {"metadata": {"where": "STRASSE 42"}}),
    ({"from": "2020-01-01T00:00:00Z", "to": "2021-01-01T00:00:00Z"}, {"timestamp": "2020-06-01T00:00:00Z"}),
]


@pytest.mark.parametrize(("filters", "event"), FILTERED, ids=[next(iter(filters)) for filters, _ in FILTERED])
async def test_a_filter_lets_pass_what_it_would_in_a_query(site: Site, filters: dict[str, str], event: dict[str, Any]) -> None:
    """Live and from Postgres, with a key of either kind."""
    async with AsyncExitStack() as streams:
        live = [await streams.enter_async_context(tailing(site.url, key, **filters)) for key in site.keys]
        await site.store()
        stored = await site.store(0, event)
        await site.store()
        past = [await streams.enter_async_context(tailing(site.url, key, since="2020-01-01T00:00:00Z", **filters)) for key in site.keys]
        assert [await tail.event() for tail in live + past] == [stored] * 4


async def test_a_filter_that_lets_nothing_pass_moves_the_position_on(site: Site) -> None:
    """Within 15 s, with the comment."""
    async with AsyncExitStack() as streams:
        tails = [await streams.enter_async_context(tailing(site.url, key, category="nothing")) for key in site.keys]
        await site.store()
        await asyncio.gather(*(tail.begun() for tail in tails))
    after = await site.store()
    for key, silent in zip(site.keys, tails, strict=True):
        async with tailing(site.url, key, silent.here) as tail:
            assert await tail.event() == after


async def test_a_workspace_as_filter(site: Site) -> None:
    """One's own is a filter; another's leaves nothing, as in a query."""
    first, second = site.tenant.workspaces[:2]
    foreign = site.stack.tenant().workspaces[0]
    async with AsyncExitStack() as streams:

        async def tail_of(key: str | None, workspace: Any) -> Connection:
            return await streams.enter_async_context(tailing(site.url, key, workspaceId=str(workspace.id)))

        own, others = await tail_of(site.tenant.key, second), await tail_of(site.tenant.key, foreign)
        all_own, none = await tail_of(first.key, first), await tail_of(first.key, second)
        in_first, in_second = await site.store(0), await site.store(1)
        assert await own.event() == in_second
        assert await all_own.event() == in_first
        for silent in (others, none):
            await silent.begun()
            assert silent.waiting == 0


async def test_a_new_workspace_of_the_company_is_told_from_its_first_event_on(site: Site) -> None:
    """Live, and to a client that was away when it was made: in whatever partition it lies."""
    await site.store(0)
    async with tailing(site.url, site.tenant.key) as live:
        position = live.here
        stored = [await site.store(1), await site.store(2), await site.store(1)]
        assert await live.events(3) == stored
    async with tailing(site.url, site.tenant.key, position) as tail:
        found = await tail.events(3)
    assert sorted(event["id"] for event in found) == sorted(event["id"] for event in stored)


@pytest.mark.parametrize("position", ["x", "AAAA", "é", "A" * 4000])
async def test_a_position_that_is_none_is_refused_by_name(site: Site, position: str) -> None:
    answer = await site.client.get("/v1/events/tail", params={"lastEventId": position}, headers=bearer(site.tenant.key))
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "lastEventId")


async def test_a_position_is_good_for_its_own_kind_of_key_alone(site: Site) -> None:
    other = site.stack.tenant()
    positions = {}
    for key in (*site.keys, site.tenant.workspaces[1].key, other.key):
        async with tailing(site.url, key) as tail:
            positions[key] = tail.here
    for key in positions:
        for of, position in positions.items():
            async with asking(site.url, key, position) as answer:
                assert answer.status == (200 if of == key else 400)


async def test_what_is_no_filter_of_a_tail_is_refused(site: Site) -> None:
    for name, value in (
        ("idempotencyKey", "x"),
        ("cursor", "x"),
        ("limit", "5"),
        ("order", "asc"),
        ("sort", "seq"),
        ("since", "yesterday"),
    ):
        answer = await site.client.get("/v1/events/tail", params={name: value}, headers=bearer(site.tenant.key))
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, name)


async def test_what_is_gone_is_told(site: Site) -> None:
    """From where to where: in front of what is left, and when nothing is left."""
    stored = [await site.store() for _ in range(5)]
    workspace_id = stored[0]["workspaceId"]
    positions = []
    for key in site.keys:
        async with tailing(site.url, key, since="2020-01-01T00:00:00Z") as tail:
            await tail.event()
            positions.append(tail.position)
    site.purge(workspace_id, 2, 4)
    for key, position in zip(site.keys, positions, strict=True):
        async with tailing(site.url, key, position) as tail:
            assert await tail.gap() == {"workspaceId": workspace_id, "fromSeq": 2, "toSeq": 4}
            assert await tail.event() == stored[4]
    site.purge(workspace_id, 5, 5)
    for key, position in zip(site.keys, positions, strict=True):
        async with tailing(site.url, key, position) as tail:
            assert await tail.gap() == {"workspaceId": workspace_id, "fromSeq": 2, "toSeq": 5}
            if key == site.tenant.key:
                stored.append(await site.store(1))
                assert await tail.event() == stored[-1]


@pytest.mark.parametrize(
    "spent", ["revoked_at = now()", "expires_at = now()", "ip_allowlist = '{203.0.113.0/24}'"], ids=["revoked", "expired", "elsewhere"]
)
async def test_a_stream_ends_within_ten_seconds_of_its_key(site: Site, spent: str) -> None:
    async with tailing(site.url, site.keys[0]) as tail, tailing(site.url, site.tenant.key) as other:
        site.sql(f"UPDATE api_key SET {spent} WHERE workspace_id = %s", site.tenant.workspaces[0].id)
        async with asyncio.timeout(10):
            assert await tail.end()
        stored = await site.store(1)
        assert await other.event() == stored


async def test_a_client_that_does_not_read_is_cut_off_and_nobody_waits_for_it(site: Site) -> None:
    """It has missed nothing: it goes on where it was."""
    key = site.tenant.workspaces[0].key
    async with tailing(site.url, key) as lazy, tailing(site.url, key) as keen:
        position = lazy.here
        event = {"metadata": {"text": "x" * 20_000}}
        posting = asyncio.create_task(site.fill(0, 40, 50, event))
        told = [event["seq"] for event in await keen.events(2000)]
        await posting
        assert told == list(range(1, 2001))
        assert not await lazy.end()
        assert lazy.waiting < 2000
    async with tailing(site.url, key, position) as tail:
        assert [event["seq"] for event in await tail.events(2000)] == told


async def test_the_process_ends_at_once_when_told_to(site: Site, stack: LocalStack) -> None:
    """Its streams end as answers do, and their clients go on elsewhere."""
    async with tailing(site.url, site.keys[0]) as tail:
        stopping = asyncio.create_task(asyncio.to_thread(stack.parts.stop, "gateway"))
        async with asyncio.timeout(5):
            assert await tail.end()
            await stopping
        position = tail.here
    await asyncio.to_thread(stack.parts.start, "gateway")
    await asyncio.to_thread(stack.parts.wait_ready, "gateway")
    async with tailing(site.url, site.keys[0], position) as tail:
        stored = await site.store()
        assert await tail.event() == stored


async def test_tails_work_while_kafka_is_away(site: Site, stack: LocalStack) -> None:
    """What is stored is told from Postgres, the API stays ready, and its operator is told."""
    first = await site.store()
    async with tailing(site.url, site.tenant.key) as open_before:
        await asyncio.to_thread(stack.parts.stop, "kafka")
        async with tailing(site.url, site.keys[0], since="2020-01-01T00:00:00Z") as tail:
            assert await tail.event() == first
            await site.noticed("the events topic of US can't be read")
            assert (await site.client.get("/v1/usage", headers=bearer(site.tenant.key))).status_code == 200
            await asyncio.to_thread(stack.parts.start, "kafka")
            await asyncio.to_thread(stack.parts.wait_ready, "kafka")
            second = await site.store_at_last()
            assert await tail.event() == second
            assert await open_before.event() == second


async def test_an_open_tail_outlives_an_outage_of_its_database(site: Site, stack: LocalStack) -> None:
    async with tailing(site.url, site.tenant.key) as tail:
        stack.parts.kill("postgres")
        await asyncio.to_thread(stack.parts.start, "postgres")
        await asyncio.to_thread(stack.parts.wait_ready, "postgres")
        stored = await site.store_at_last()
        event = await tail.event()
        assert event["workspaceId"] == stored["workspaceId"]
        assert event["seq"] == 1
