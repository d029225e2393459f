"""One company's slow queries keep no other company's out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from prometheus_client import CollectorRegistry

from api.store import Store
from ops.auth import Principal
from ops.db import Connection, open_pool
from ops.local.environment import Role
from ops.metrics import Metrics
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.topics import Region
from tests.support.stack import LocalStack

LIMITS = PlanLimits(7, None, None, None, (), 0, True, (), None, None)
CONNECTIONS = 2
Way = Callable[[Store, Principal, str], AbstractAsyncContextManager[Connection]]


@pytest.mark.parametrize("way", [Store.reading_for, Store.acting_in_turn])
async def test_a_company_holds_no_more_than_its_share_of_the_connections(servers: LocalStack, way: Way) -> None:
    """Two requests of the one, one connection for each company: the second request waits, and the other company does not."""
    greedy, other = (Principal("k", Region.US, Scope.COMPANY, str(servers.tenant().id), None, None, LIMITS) for _ in range(2))
    url = servers.settings(Role.API).database_url(Region.US)
    async with await open_pool(url, application_name="share", region=Region.US, max_size=CONNECTIONS) as pool:
        store = Store({Region.US: pool}, Metrics(CollectorRegistry()), CONNECTIONS - 1)

        async def ask(caller: Principal) -> int:
            async with way(store, caller, "test") as connection:
                answer: int = await connection.fetchval("SELECT 1")
                return answer

        async with way(store, greedy, "test"):
            waiting = asyncio.create_task(ask(greedy))
            assert await ask(other) == 1
            assert not waiting.done()
        assert await waiting == 1
