"""Ingest while its Postgres is killed: keys and projects known before stay good, all others are 503 and never 401 or 400."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from tests.support.doors import bearer, ingest
from tests.support.posting import LEAST, SINGLE
from tests.support.stack import LocalStack


async def test_what_was_known_goes_on_and_the_rest_is_503(servers: LocalStack) -> None:
    known, unknown = servers.tenant().workspaces[0], servers.tenant().workspaces[0]
    own = LEAST | {"projectId": str(known.project_id)}
    async with ingest(servers) as client:

        async def post(key: str | None, event: dict[str, Any]) -> httpx.Response:
            return await client.post(SINGLE, json=event, headers=bearer(key), timeout=15)

        assert (await post(known.key, own)).status_code == 202
        servers.parts.kill("postgres")
        try:
            for event in (LEAST, own):
                assert (await post(known.key, event)).status_code == 202
            for key, event in ((unknown.key, LEAST), (known.key, LEAST | {"projectId": str(uuid4())})):
                answer = await post(key, event)
                assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
                assert int(answer.headers["retry-after"]) >= 1
        finally:
            await asyncio.to_thread(servers.parts.start, "postgres")
            await asyncio.to_thread(servers.parts.wait_ready, "postgres")
        async with asyncio.timeout(20):
            while (await post(unknown.key, LEAST)).status_code != 202:
                await asyncio.sleep(0.1)


async def test_busy_connections_do_not_pass_for_an_outage_to_a_key_not_seen_before(servers: LocalStack) -> None:
    known, unknown = servers.tenant().workspaces[0], servers.tenant().workspaces[0]
    locker = await asyncpg.connect(servers.superuser_url())
    async with ingest(servers) as client:

        async def post(key: str | None, **members: str) -> int:
            return (await client.post(SINGLE, json=LEAST | members, headers=bearer(key), timeout=15)).status_code

        try:
            assert await post(known.key) == 202
            async with locker.transaction():
                await locker.execute("LOCK TABLE project IN ACCESS EXCLUSIVE MODE")
                held = [asyncio.create_task(post(known.key, projectId=str(uuid4()))) for _ in range(4)]
                async with asyncio.timeout(2):
                    while await locker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'project'::regclass") < 4:
                        await asyncio.sleep(0.01)
                assert await post(unknown.key) == 202
            await asyncio.gather(*held)
        finally:
            await locker.close()
