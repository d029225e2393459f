"""The API while its Postgres is killed and comes back: 503 with Retry-After, never 401 or 500, and no restart needed."""

from __future__ import annotations

import asyncio

import httpx

from api.app import create_app
from ops.local.environment import Role
from ops.seed import Tenant
from schemas.topics import Region
from tests.support.serving import served
from tests.support.stack import LocalStack


async def ask(client: httpx.AsyncClient, tenant: Tenant, path: str = "/v1/events") -> httpx.Response:
    return await client.get(path, headers={"Authorization": f"Bearer {tenant.key}"}, timeout=15)


async def test_a_killed_postgres_is_503_until_it_is_back(servers: LocalStack) -> None:
    known, unknown = servers.tenant(), servers.tenant(Region.EU)
    async with served(create_app(servers.settings(Role.API))) as client:
        assert (await ask(client, known)).status_code == 200
        servers.parts.kill("postgres")
        try:
            for tenant in (known, unknown):
                answer = await ask(client, tenant)
                assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
                assert int(answer.headers["retry-after"]) >= 1
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/v1/schemas/0000000000000000")).status_code == 404
        finally:
            await asyncio.to_thread(servers.parts.start, "postgres")
            await asyncio.to_thread(servers.parts.wait_ready, "postgres")
        async with asyncio.timeout(20):
            while {(await ask(client, tenant)).status_code for tenant in (known, unknown)} != {200}:
                await asyncio.sleep(0.1)
