"""Ingest while its Postgres is killed: keys and projects known before stay good, all others are 503 and never 401 or 400."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

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
