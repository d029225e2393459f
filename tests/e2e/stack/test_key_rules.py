"""Keys over HTTP: from where they may be used, when they were, and how soon their end is noticed."""

from __future__ import annotations

import asyncio
import os
from time import monotonic

import httpx
from pydantic import SecretStr

from ops.addresses import network
from ops.local.environment import Role
from tests.support.doors import api, bearer, execute, ingest
from tests.support.posting import BATCH, LEAST, SINGLE
from tests.support.stack import LocalStack

LOOPBACK = (network("127.0.0.0/8"),)
ALLOW = "UPDATE api_key SET ip_allowlist = $2::cidr[] WHERE company_id = $1"


async def test_an_allowlist_is_about_the_client_behind_trusted_proxies(stack: LocalStack) -> None:
    tenant = stack.tenant()
    await execute(stack, ALLOW, tenant.id, ["203.0.113.0/24", "2001:db8::/32"])
    async with api(stack, trusted_proxies=LOOPBACK) as client:
        for hops, status in (
            ("203.0.113.9", 200),
            ("2001:db8::9", 200),
            ("::ffff:203.0.113.9", 200),
            ("198.51.100.1", 403),
            ("203.0.113.9, 198.51.100.1", 403),
            ("nonsense", 403),
        ):
            answer = await client.get("/v1/events", headers=bearer(tenant.key, x_forwarded_for=hops))
            assert (answer.status_code, hops) == (status, hops)
        lines = [("Authorization", f"Bearer {tenant.key}"), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.1")]
        assert (await client.get("/v1/events", headers=lines)).status_code == 403
    async with api(stack) as client:
        answer = await client.get("/v1/events", headers=bearer(tenant.key, x_forwarded_for="203.0.113.9"))
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_ingest_holds_to_allowlists_and_stores_the_clients_address(stack: LocalStack) -> None:
    tenant = stack.tenant()
    await execute(stack, ALLOW, tenant.id, ["203.0.113.0/24"])
    key = tenant.workspaces[0].key
    async with ingest(stack, trusted_proxies=LOOPBACK) as client:
        headers = bearer(key, x_forwarded_for="8.8.8.8, 203.0.113.9", prefer="wait=30")
        answer = await client.post(SINGLE, json=LEAST, headers=headers, timeout=40)
        assert answer.json()["context"]["ipAddress"] == "203.0.113.9"
        for path, body in ((SINGLE, LEAST), (BATCH, [LEAST])):
            answer = await client.post(path, json=body, headers=bearer(key, x_forwarded_for="203.0.113.9, 8.8.8.8"))
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_a_revocation_is_seen_by_other_processes_within_ten_seconds(stack: LocalStack) -> None:
    """The gateway is one, with a cache for ingest and one for the API; both keys are in use all the time."""
    tenant = stack.tenant()
    async with httpx.AsyncClient(base_url=stack.base_url, verify=False) as client:

        async def statuses() -> set[int]:
            posted = client.post(SINGLE, json=LEAST, headers=bearer(tenant.workspaces[0].key))
            read = client.get("/v1/events", headers=bearer(tenant.key))
            return {answer.status_code for answer in await asyncio.gather(posted, read)}

        assert await statuses() == {202, 200}
        await execute(stack, "UPDATE api_key SET revoked_at = now() WHERE company_id = $1", tenant.id)
        revoked = monotonic()
        while (seen := await statuses()) != {401}:
            assert monotonic() - revoked <= 10, seen
            await asyncio.sleep(0.2)


async def test_when_keys_were_last_used_is_written_behind_the_requests(stack: LocalStack) -> None:
    tenant = stack.tenant()
    async with ingest(stack) as writing, api(stack) as reading:
        await writing.post(SINGLE, json=LEAST, headers=bearer(tenant.workspaces[0].key))
        await reading.get("/v1/events", headers=bearer(tenant.key))
    count = "SELECT count(*) FROM api_key_use WHERE company_id = $1 AND last_used_at BETWEEN now() - interval '1 minute' AND now()"
    assert await execute(stack, count, tenant.id) == 2


async def test_a_key_stored_under_the_previous_secret_is_good(stack: LocalStack) -> None:
    tenant = stack.tenant()
    secret, another = stack.settings(Role.API).api_key_secret, SecretStr(os.urandom(32).hex())
    async with api(stack, api_key_secret=another, api_key_secret_previous=secret) as client:
        assert (await client.get("/v1/events", headers=bearer(tenant.key))).status_code == 200
    async with api(stack, api_key_secret=another) as client:
        assert (await client.get("/v1/events", headers=bearer(tenant.key))).status_code == 401
