"""How lists of events are read: out of indexes, and never much more than is shown (ops/docs/query.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from api.asked import EventFilter
from api.finder import PLANNING, Finder
from api.store import Store
from ops.auth import Principal
from ops.db import Pool, load_queries, open_pool, tenant_transaction, use_micros
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.seed import Tenant
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.topics import Region
from tests.bench.query_rows import FIRST_RECEIPT, Asked, load, trace_of
from tests.support.chains import SECOND
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
EVENTS = 60_000
TAIL = 500
"""Events that can't be searched yet."""
PAGE = 51
# What is walked and again what is shown; or as many as the rarest filter here has candidates.
MOST_READ = 9_000
ALL_TIME = (-(10**15), 4 * 10**15)
ASKED = Asked()
PLAIN: dict[str, dict[str, str]] = {
    "nothing": {},
    "category": {"category": "security"},
    "action": {"action": ASKED.action},
    "rare action": {"action": ASKED.rare_action},
    "prefix": {"action": "key.*"},
    "outcome": {"outcome": "DENIED"},
    "tenantId": {"tenantId": ASKED.tenant},
    "actorId": {"actorId": ASKED.frequent_actor},
    "rare actorId": {"actorId": ASKED.rare_actor},
    "actorEmail": {"actorEmail": f"{ASKED.rare_actor}@acme.example"},
    "resourceType": {"resourceType": "key"},
    "resourceId": {"resourceId": ASKED.rare_resource},
    "traceId": {"traceId": trace_of(3)},
    "what nobody has": {"actorId": "nobody"},
    "two frequent ones": {"outcome": "DENIED", "category": "security"},
    "two that never meet": {"action": ASKED.action, "resourceType": "key"},
    "four": {"outcome": "FAILURE", "category": "billing", "tenantId": ASKED.tenant, "resourceType": "invoice"},
}
TIMES: dict[str, dict[str, int]] = {
    "any time": {},
    "from and to": {"start": FIRST_RECEIPT + 20_000 * SECOND, "end": FIRST_RECEIPT + 21_000 * SECOND},
    "received": {"received_start": FIRST_RECEIPT + 20_000 * SECOND, "received_end": FIRST_RECEIPT + 21_000 * SECOND},
}
OTHERS: dict[str, dict[str, Any]] = {
    "q, frequent": {"words": ASKED.frequent_word},
    "q, rare": {"words": ASKED.rare_word},
    "q, two words": {"words": f"{ASKED.frequent_word} {ASKED.rare_word}"},
    "q and a column": {"words": ASKED.frequent_word, "plain": {"outcome": "DENIED"}},
    "q that nobody has": {"words": "nevermore"},
    "idempotencyKey": {"idempotency_key": "key-1"},
}


@dataclass(frozen=True)
class Site:
    """A company of many workspaces, one of which has half of all events; and the API's way to them, over one connection."""

    tenant: Tenant
    finder: Finder
    pool: Pool
    superuser: Database

    @property
    def largest(self) -> str:
        return str(self.tenant.workspaces[0].id)

    @property
    def smallest(self) -> str:
        return str(self.tenant.workspaces[-1].id)

    async def read(self) -> dict[str, tuple[int, int]]:
        """Sequential scans, and rows fetched, of each table so far."""
        await self.pool.fetchval("SELECT pg_stat_force_next_flush()")
        rows = await self.superuser.fetch(
            "SELECT relname, seq_scan, seq_tup_read + coalesce(idx_tup_fetch, 0) AS fetched FROM pg_stat_user_tables "
            "WHERE relname IN ('events', 'search', 'event_key')"
        )
        return {row["relname"]: (row["seq_scan"], row["fetched"]) for row in rows}


@pytest.fixture(scope="module")
def company(servers: LocalStack) -> Tenant:
    """With its events, the last of which can't be searched yet."""
    tenant = servers.tenant(workspaces=40)

    async def fill() -> None:
        connection = await asyncpg.connect(servers.superuser_url())
        await use_micros(connection)
        await load(connection, tenant, EVENTS)
        await connection.execute("DELETE FROM search WHERE workspace_id = $1 AND seq > $2", tenant.workspaces[0].id, EVENTS // 2 - TAIL)
        await connection.execute("VACUUM ANALYZE search")
        await connection.close()

    asyncio.run(fill())
    return tenant


@pytest.fixture
async def site(servers: LocalStack, superuser: Database, company: Tenant) -> AsyncIterator[Site]:
    url = servers.settings(Role.API).database_url(Region.US)
    pool = await open_pool(url, application_name="plans", max_size=1)
    yield Site(company, Finder(Store({Region.US: pool}, Metrics(CollectorRegistry()))), pool, superuser)
    pool.terminate()


def wanted(workspace: str | None, *, descending: bool, by_seq: bool = False, **more: Any) -> EventFilter:
    start, end = more.pop("start", ALL_TIME[0]), more.pop("end", ALL_TIME[1])
    return EventFilter(workspace, start, end, descending, by_seq, **more)


async def assert_cheap(site: Site, asked: EventFilter) -> None:
    """The first page and, from its last row on, the second."""
    caller = Principal(
        "k", Region.US, Scope.COMPANY, str(site.tenant.id), None, None, PlanLimits(7, None, None, None, (), 0, True, (), None, None)
    )
    after = None
    for _ in range(2):
        before = await site.read()
        found = (await site.finder.events(caller, asked, after, PAGE)).events
        spent = await site.read()
        for table in before:
            assert spent[table][0] == before[table][0], f"{table} was read sequentially"
            assert spent[table][1] - before[table][1] <= MOST_READ, f"too much of {table} was read"
        if not found:
            break
        after = found[-1][1]


@pytest.mark.parametrize("descending", [True, False], ids=["desc", "asc"])
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("plain", PLAIN)
async def test_no_filter_reads_much_more_than_it_shows(site: Site, plain: str, times: str, descending: bool) -> None:
    """Neither in a company nor in its largest or smallest workspace, in each order."""
    more: dict[str, Any] = {"plain": PLAIN[plain], **TIMES[times]}
    for workspace in (None, site.largest, site.smallest):
        await assert_cheap(site, wanted(workspace, descending=descending, **more))
    for workspace in (site.largest, site.smallest):
        await assert_cheap(site, wanted(workspace, descending=descending, by_seq=True, **more))


@pytest.mark.parametrize("descending", [True, False], ids=["desc", "asc"])
@pytest.mark.parametrize("other", OTHERS)
async def test_nor_do_words_and_keys(site: Site, other: str, descending: bool) -> None:
    for workspace in (None, site.largest, site.smallest):
        await assert_cheap(site, wanted(workspace, descending=descending, **OTHERS[other]))


WALKS = {
    "walk_workspace_desc": "Index Scan Backward using events_time on events e_1",
    "walk_workspace_asc": "Index Scan using events_time on events e_1",
    "walk_company_desc": "Index Scan Backward using events_company_time on events e_1",
    "walk_company_asc": "Index Scan using events_company_time on events e_1",
    "walk_seq_desc": "Index Scan Backward using events_pkey on events e_1",
    "walk_seq_asc": "Index Scan using events_pkey on events e_1",
}


@pytest.mark.parametrize("times", [TIMES["any time"], TIMES["from and to"]], ids=["any time", "from and to"])
@pytest.mark.parametrize("query", WALKS)
async def test_a_walk_is_along_its_index_and_sorts_nothing(site: Site, query: str, times: dict[str, int]) -> None:
    """Behind the walls, in the largest workspace as in the smallest: what the planner expects decides between 51 rows and all."""
    _walk, sort, direction = query.split("_")
    for workspace in (site.largest, site.smallest):
        asked = wanted(None if sort == "company" else workspace, descending=direction == "desc", by_seq=sort == "seq", **times)
        arguments = (asked.event_filter(), asked.workspace_id, asked.event_place(asked.first()), 4000, PAGE)
        async with (
            site.pool.acquire() as connection,
            tenant_transaction(connection, str(site.tenant.id), readonly=True, parameters=PLANNING),
        ):
            plan = await connection.fetch(f"EXPLAIN {load_queries('api', 'events.sql')[query]}", site.tenant.id, *arguments)
        text = "\n".join(row[0] for row in plan)
        assert WALKS[query] in text, text
        assert "Sort" not in text, text
