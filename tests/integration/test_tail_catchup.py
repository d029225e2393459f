"""What a tail reads from Postgres, page by page: exactly what is behind where it begins, whenever it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from api.asked import EventFilter
from api.store import Store
from api.tail.catchup import Begin, CatchUp, Gap, Page, Stored
from api.tail.position import Audience, Position
from api.tail.progress import Progress
from ops.auth import Principal
from ops.db import Pool, open_pool, use_micros
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.seed import Tenant
from schemas.event import StoredEvent
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.topics import Region, ingest_topic
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.stack import LocalStack

LIMITS = PlanLimits(7, None, None, None, (), 0, True, (), None, None)
FIRST_PARTITION = 900
"""Nobody else's on these servers."""
END = 1_000_000


@dataclass
class Site:
    """A company whose workspaces lie in partitions of their own, but for the last two. ``chains`` are theirs."""

    tenant: Tenant
    pool: Pool
    superuser: Any
    chains: list[Chain]
    records: int = 0

    def few(self, readers: int) -> tuple[Store, Stored]:
        """A store in which each company has one connection, and tails so many in all."""
        partitions = {chain.workspace_id: chain.partition for chain in self.chains}
        store = Store({Region.US: self.pool}, Metrics(CollectorRegistry()), 1)
        return store, Stored.of(store, partitions.__getitem__, readers)

    async def catch_up(self, begin: Begin, **filters: Any) -> CatchUp:
        """The company's, begun."""
        catch_up = self.catch_up_of(self.few(readers=2)[1], begin, **filters)
        await catch_up.begin()
        return catch_up

    def catch_up_of(self, stored: Stored, begin: Begin, **filters: Any) -> CatchUp:
        """The same, not begun."""
        caller = Principal("k", Region.US, Scope.COMPANY, str(self.tenant.id), None, None, LIMITS)
        wanted = EventFilter(None, 0, 2**62, descending=False, plain=filters)
        return CatchUp(stored, caller, wanted, begin, Progress(Audience(str(self.tenant.id), None)))

    async def store(self, number: int, *seconds: float, **members: Any) -> list[StoredEvent]:
        """Events received at those seconds."""
        chain = self.chains[number]
        events = [self._placed(chain.event(received_at=at(second), **members)) for second in seconds]
        await store(self.superuser, chain, events)
        return events

    def _placed(self, event: StoredEvent) -> StoredEvent:
        self.records += 1
        return replace(event, source_offset=self.records // 2, source_index=self.records % 2)


@pytest.fixture
async def site(servers: LocalStack) -> AsyncIterator[Site]:
    tenant = servers.tenant(workspaces=4)
    numbers = zip(tenant.workspaces, (0, 1, 2, 2), strict=True)
    chains = [Chain(str(tenant.id), str(each.id), Region.US, FIRST_PARTITION + at) for each, at in numbers]
    superuser = await asyncpg.connect(servers.superuser_url())
    await use_micros(superuser)
    await superuser.execute("DELETE FROM source WHERE partition >= $1", FIRST_PARTITION)
    await superuser.executemany(
        "INSERT INTO source (topic, partition, topic_id, next_offset) VALUES ($1, $2, $3, $4)",
        [(ingest_topic(Region.US), FIRST_PARTITION + number, uuid4(), END) for number in range(3)],
    )
    await superuser.execute("ALTER TABLE events DISABLE TRIGGER events_no_delete")
    await superuser.execute("DELETE FROM events WHERE source_partition >= $1", FIRST_PARTITION)
    await superuser.execute("ALTER TABLE events ENABLE TRIGGER events_no_delete")
    url = servers.settings(Role.API).database_url(Region.US)
    async with await open_pool(url, application_name="catchup", region=Region.US, max_size=2) as pool:
        yield Site(tenant, pool, superuser, chains)
    await superuser.close()


def at(second: float) -> int:
    return BASE_TIME + int(second * SECOND)


def tell(progress: Progress, page: Page, most: int) -> list[str]:
    """The ids of the page's events, up to so many: then the client is cut."""
    told: list[str] = []
    for step in page.steps:
        if len(told) == most:
            return told
        if isinstance(step, Gap):
            progress.seqs[step.workspace_id] = step.last
            continue
        key = step.key
        progress.move(key.workspace_id, key.seq, key.partition, key.place, key.received_at)
        if step.told is not None:
            told.append(step.told.event.id)
    if len(told) < most:
        progress.start_at(page.ends)
    return told


async def read(catch_up: CatchUp, most: int = 10**9) -> tuple[list[str], Position]:
    """The ids of what is told until it has caught up, or was cut behind so many; and where it then stands."""
    told: list[str] = []
    while True:
        page = await catch_up.page()
        told += tell(catch_up.progress, page, most - len(told))
        if page.is_last or len(told) == most:
            position = catch_up.progress.position()
            return told, position._replace(places=dict(position.places))


def ids(*events: StoredEvent) -> set[str]:
    return {event.id for event in events}


async def test_a_time_is_kept_across_a_cut(site: Site) -> None:
    """Wherever the cut is: nothing that is older is told in partitions that had told nothing yet."""
    for number in range(4):
        await site.store(number, 1, 2, 3)
    since = [*await site.store(0, 10, 14), *await site.store(2, 11, 13), *await site.store(3, 12)]
    for most in range(len(since) + 1):
        first, position = await read(await site.catch_up(at(10)), most)
        rest, _ = await read(await site.catch_up(position))
        assert len(first) == most
        assert sorted(first + rest) == sorted(ids(*since))


async def test_a_time_is_told_from_by_receipt_though_receipt_does_not_rise_with_seq(site: Site) -> None:
    events = await site.store(0, 10, 11, 12, 20, 13, 14, 15, 16)
    events += await site.store(0, 21, 19, 22)
    for second in (9, 12, 15, 20, 21, 22.5):
        told, _ = await read(await site.catch_up(at(second)))
        assert set(told) == {event.id for event in events if event.received_at >= at(second)}


async def test_what_comes_later_is_told_whenever_it_was_received(site: Site) -> None:
    await site.store(0, 1, 2)
    catch_up = await site.catch_up(at(10))
    assert (await read(catch_up))[0] == []
    late = await site.store(0, 9)
    assert set((await read(catch_up))[0]) == ids(*late)


async def test_a_page_is_bounded_by_what_its_events_say(site: Site) -> None:
    """A client that does not read holds one page: 200 events of 128 KiB would be 25 MiB."""
    events = await site.store(0, *range(30), metadata=b'{"t":"%b"}' % (b"x" * 120_000))
    catch_up = await site.catch_up(at(0))
    told: list[str] = []
    while not (page := await catch_up.page()).is_last:
        assert sum(step.told is not None for step in page.steps if not isinstance(step, Gap)) <= 8
        told += tell(catch_up.progress, page, 9)
    assert told == [event.id for event in events]


async def test_a_filter_that_matches_little_reads_large_pages(site: Site) -> None:
    """And asks but once how far there is to go, and once more at the end."""
    await site.store(0, *range(4000))
    wanted = await site.store(0, 5000, category="file")
    catch_up = await site.catch_up(at(0), category="file")
    pages = 0
    told: list[str] = []
    is_last = False
    while not is_last:
        page = await catch_up.page()
        pages, is_last = pages + 1, page.is_last
        told += tell(catch_up.progress, page, 10)
    assert (set(told), pages) == (ids(*wanted), 3)


async def test_the_last_page_is_as_new_as_it_is(site: Site) -> None:
    """What came while the pages before it were read is in it, as whoever marked a log then takes for granted."""
    await site.store(0, *range(300))
    catch_up = await site.catch_up(at(0))
    tell(catch_up.progress, await catch_up.page(), 1000)
    await site.store(0, *range(300, 303))
    told, _ = await read(catch_up)
    assert len(told) == 103


async def test_it_has_begun_before_its_first_page(site: Site) -> None:
    """What is stored once the client has its 200 is told."""
    await site.store(0, 1)
    catch_up = await site.catch_up(None)
    after = [*await site.store(0, 2), *await site.store(1, 3)]
    assert set((await read(catch_up))[0]) == ids(*after)


async def test_neither_another_region_nor_a_company_that_waits_for_itself_holds_up_a_tail(site: Site) -> None:
    """Its company's share is taken first, then a place among the region's readers."""
    store, stored = site.few(readers=1)
    await site.store(0, 1)
    other = Principal("k", Region.US, Scope.COMPANY, str(uuid4()), None, None, LIMITS)
    async with stored.gates[Region.EU], store.reading_for(other, "test"):
        waiting = asyncio.create_task(enter(stored, other))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with asyncio.timeout(3):
            catch_up = site.catch_up_of(stored, None)
            await catch_up.begin()
        assert not waiting.done()
    await waiting


async def enter(stored: Stored, caller: Principal) -> None:
    async with stored.reading_for(caller):
        return
