"""Every filter and order, alone and together, against a plain answer: whatever is found how, and however far the search table is."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from api.asked import EventFilter
from api.cursor import Position
from api.finder import Finder, Steps
from api.store import Store
from ops.auth import Principal
from ops.db import open_pool
from ops.local.environment import Role
from ops.metrics import Metrics
from schemas.event import StoredEvent
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.topics import Region
from tests.support import searching
from tests.support.asking import Known, answer, filters, make_events
from tests.support.chains import Chain, store
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
WORKSPACES = 3
EVENTS = 80
"""A workspace."""
MOST_ARRIVALS = 10
"""In one walk: with pages of one row a list could grow faster than it is walked, for ever."""
KEYS = ("key-1", "key-2", "key-3", "unused")
LIMITS = PlanLimits(7, None, None, None, (), 0, True, (), None, None)
FAR, NEAR = Steps(), Steps(an_event=1, least=1)
"""A walk that meets every event there is, and one that meets hardly any: so that it is the search table which finds them."""


@dataclass
class Site:
    """A company whose events are searchable up to some seq of each workspace, beside another company that has the same."""

    company: str
    chains: list[Chain]
    known: list[Known]
    pool: Any
    superuser: Database
    rng: random.Random
    unindexed: list[StoredEvent]

    @property
    def workspaces(self) -> list[str]:
        return [chain.workspace_id for chain in self.chains]

    def finder(self, steps: Steps) -> Finder:
        return Finder(Store({Region.US: self.pool}, Metrics(CollectorRegistry())), steps)

    async def page(self, finder: Finder, asked: EventFilter, after: Position | None, limit: int) -> list[tuple[StoredEvent, Position]]:
        """Of a list of one workspace, now with the company's key and now with the workspace's."""
        own = asked.workspace_id if self.rng.random() < 0.5 else None
        caller = Principal("k", Region.US, Scope.COMPANY if own is None else Scope.WORKSPACE, self.company, own, None, LIMITS)
        return (await finder.events(caller, asked, after, limit)).events

    async def walk(self, finder: Finder, asked: EventFilter, limit: int) -> list[str]:
        """All pages' ids."""
        ids: list[str] = []
        after = None
        while True:
            found = await self.page(finder, asked, after, limit)
            ids += [event.id for event, _ in found]
            if len(found) < limit:
                return ids
            after = found[-1][1]

    async def add(self, count: int) -> None:
        """Store more events of each workspace. None of them is searchable yet."""
        for chain in self.chains:
            events = make_events(chain, count, self.rng)
            await store(self.superuser, chain, events)
            self.known += [Known(event, None, searchable=False) for event in events]
            self.unindexed += events

    async def index(self, share: float) -> None:
        """Let the sink come as far as that in each workspace; now and then there is an event that it can't take."""
        for chain in self.chains:
            waiting = [event for event in self.unindexed if event.workspace_id == chain.workspace_id]
            taken = waiting[: round(len(waiting) * share)]
            dead = {event.id for event in taken[:-1] if self.rng.random() < 0.05}
            await searching.index(self.superuser, [event for event in taken if event.id not in dead])
            for event in taken:
                self.unindexed.remove(event)
                if event.id in dead:
                    await searching.bury(self.superuser, event)
            done = {event.id for event in taken} - dead
            self.known = [Known(each.event, each.key, each.searchable or each.event.id in done) for each in self.known]

    async def name(self) -> None:
        """Give each key to an event of every workspace but the last."""
        for number, key in enumerate(KEYS[:3]):
            for chain in self.chains[: number + 1]:
                place = self.rng.choice([at for at, each in enumerate(self.known) if each.event.workspace_id == chain.workspace_id])
                each = self.known[place]
                if each.key is None:
                    await searching.name(self.superuser, each.event, key)
                    self.known[place] = Known(each.event, key, each.searchable)


async def furnish(servers: LocalStack, superuser: Database, pool: Any, seed: int) -> Site:
    tenant = servers.tenant(workspaces=WORKSPACES)
    chains = [Chain(str(tenant.id), str(workspace.id)) for workspace in tenant.workspaces]
    site = Site(str(tenant.id), chains, [], pool, superuser, random.Random(seed), [])
    await site.add(EVENTS)
    await site.index(site.rng.random())
    await site.name()
    return site


@pytest.fixture(params=[1, 2])
async def site(servers: LocalStack, superuser: Database, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    pool = await open_pool(servers.settings(Role.API).database_url(Region.US), application_name="reference", max_size=1)
    await furnish(servers, superuser, pool, seed=7)
    yield await furnish(servers, superuser, pool, seed=request.param)
    pool.terminate()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), limit=st.sampled_from([1, 2, 7, 60, 201]), steps=st.sampled_from([FAR, NEAR]))
async def test_what_is_found_is_what_is_asked_for(site: Site, data: st.DataObject, limit: int, steps: Steps) -> None:
    """In order, once each, on pages of any size."""
    asked = data.draw(filters(site.workspaces, KEYS))
    expected = answer(site.known, asked)
    assert await site.walk(site.finder(steps), asked, max(limit, len(expected) // 8)) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), limit=st.integers(1, 20), steps=st.sampled_from([FAR, NEAR]))
async def test_a_list_walked_while_events_arrive_skips_and_repeats_nothing(
    site: Site, data: st.DataObject, limit: int, steps: Steps
) -> None:
    """Of what was stored, and searchable if words are asked for, when its first page was read. Meanwhile the search table catches up."""
    asked = data.draw(filters(site.workspaces, KEYS))
    at_first = answer(site.known, asked)
    finder, ids, after = site.finder(steps), list[str](), None
    arrivals = MOST_ARRIVALS
    while True:
        found = await site.page(finder, asked, after, limit)
        ids += [event.id for event, _ in found]
        if len(found) < limit:
            break
        after = found[-1][1]
        if arrivals and site.rng.random() < 0.3:
            arrivals -= 1
            await site.add(1)
            await site.index(site.rng.random())
    at_last = answer(site.known, asked)
    assert len(set(ids)) == len(ids)
    assert [one for one in ids if one in set(at_first)] == at_first
    assert [one for one in at_last if one in set(ids)] == ids


@pytest.mark.parametrize("steps", [FAR, NEAR])
async def test_what_is_stored_later_comes_in_the_order_of_seq(site: Site, steps: Steps) -> None:
    """A list by seq, oldest first, can be followed: from where it ended it goes on."""
    asked = EventFilter(site.workspaces[0], 0, 2**52, descending=False, by_seq=True, plain={"category": "auth"})
    finder, ids, after = site.finder(steps), list[str](), None
    for _ in range(20):
        found = await site.page(finder, asked, after, 5)
        ids += [event.id for event, _ in found]
        after = found[-1][1] if found else after
        await site.add(2)
        await site.index(site.rng.random())
    ids += [event.id for event, _ in await site.page(finder, asked, after, 1000)]
    assert ids == answer(site.known, asked)


@pytest.mark.parametrize("steps", [FAR, NEAR])
async def test_what_is_erased_is_found_by_it_no_more(site: Site, steps: Steps) -> None:
    """The search table may still know: what it names is read again."""
    asked = EventFilter(None, 0, 2**52, descending=True, plain={"actorId": "u-1"})
    before = answer(site.known, asked)
    await site.superuser.execute("SET session_replication_role = replica")
    erased = before[: len(before) // 2]
    await site.superuser.execute("UPDATE events SET actor = NULL, actor_id = NULL, actor_email = NULL WHERE id = ANY($1::uuid[])", erased)
    assert len(erased) > 5
    assert await site.walk(site.finder(steps), asked, 5) == before[len(erased) :]
