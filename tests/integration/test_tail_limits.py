"""How many tails there may be, and how long one lasts."""

from __future__ import annotations

from contextlib import AsyncExitStack

import psycopg

from api.app import create_app
from ops.local.environment import Role
from tests.support.serving import served
from tests.support.stack import LocalStack
from tests.support.tailing import asking, tailing


async def test_a_key_has_so_many_tails_and_a_process_too(servers: LocalStack) -> None:
    settings = servers.settings(Role.API).model_copy(update={"tails_per_key": 2, "tail_clients": 3})
    first, second = servers.tenant(), servers.tenant()
    async with served(create_app(settings)) as client, AsyncExitStack() as streams:
        url = str(client.base_url)
        for key in (first.key, first.key, second.key):
            tail = await streams.enter_async_context(tailing(url, key))
        async with asking(url, first.key) as refused:
            assert (refused.status, (await refused.json())["code"]) == (429, "RATE_LIMITED")
            assert int(refused.headers["retry-after"]) > 0
        async with asking(url, second.key) as refused:
            assert (refused.status, (await refused.json())["code"]) == (503, "UNAVAILABLE")
            assert int(refused.headers["retry-after"]) > 0
        tail.response.close()
        await _let_in(url, second.key)


async def _let_in(url: str, key: str | None) -> None:
    """Once the process knows that one has gone."""
    while True:
        async with asking(url, key) as answer:
            if answer.status == 200:
                return


async def test_a_tail_ends_by_itself_as_answers_do(servers: LocalStack) -> None:
    settings = servers.settings(Role.API).model_copy(update={"tail_lifetime_seconds": 0.2})
    async with served(create_app(settings)) as client, tailing(str(client.base_url), servers.tenant().key) as tail:
        assert await tail.end()


async def test_a_tail_that_cannot_begin_is_refused(servers: LocalStack) -> None:
    """Not a 200 that says nothing: whoever has that is told what is stored from then on."""
    settings = servers.settings(Role.API).model_copy(update={"tails_per_key": 1, "statement_timeout_seconds": 0.3})
    tenant = servers.tenant()
    async with served(create_app(settings)) as client:
        url = str(client.base_url)
        with psycopg.connect(servers.superuser_url()) as connection:
            connection.execute("LOCK TABLE source")
            for _ in range(2):
                async with asking(url, tenant.key) as refused:
                    assert (refused.status, (await refused.json())["code"]) == (503, "UNAVAILABLE")
                    assert int(refused.headers["retry-after"]) > 0
        await _let_in(url, tenant.key)
