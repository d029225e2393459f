"""Chains, rejections, schemas, health, and the API while its database is away."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from ops.local.environment import Role
from ops.seed import Tenant
from ops.settings import Settings
from schemas.codec import SCHEMAS
from schemas.event import format_time
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.serving import served
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True)
class Site:
    """The API, a company of two workspaces, and the database below."""

    client: httpx.AsyncClient
    tenant: Tenant
    superuser: Database
    settings: Settings

    async def get(self, path: str, key: str | None = None, /, **parameters: str | int) -> httpx.Response:
        return await self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {key or self.tenant.workspaces[0].key}"})

    async def reject(self, count: int, *, workspace: int = 0, at: int = BASE_TIME) -> list[str]:
        """That many rejections of one moment; their ids, newest first."""
        made = [str(uuid4()) for _ in range(count)]
        base = uuid4().int >> 70
        for index, event_id in enumerate(made):
            await self.superuser.execute(
                "INSERT INTO rejected VALUES (0, $1, $2, $3, $4, $5, 'POISON', 'could not be stored', $6, $7, '\\x00ff')",
                base, index, event_id, self.tenant.id, self.tenant.workspaces[workspace].id, BASE_TIME, at,
            )  # fmt: skip
        return made[::-1]

    async def rejections(self, key: str | None = None, **parameters: str | int) -> list[str]:
        """All pages' ids."""
        found: list[str] = []
        cursor: dict[str, str | int] = {}
        while True:
            page = (await self.get("/v1/rejections", key, **parameters, **cursor)).json()
            found += [row["id"] for row in page["data"]]
            if page["nextCursor"] is None:
                return found
            cursor = {"cursor": page["nextCursor"]}


@pytest.fixture
def site(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> Site:
    return Site(api_client, servers.tenant(workspaces=2), superuser, servers.settings(Role.API))


async def test_the_chain_of_a_workspace_is_its_newest_link(site: Site) -> None:
    chain = Chain(str(site.tenant.id), str(site.tenant.workspaces[0].id))
    await store(site.superuser, chain, chain.events(3))
    body = (await site.get(f"/v1/workspaces/{chain.workspace_id}/chain")).json()
    assert (body["workspaceId"], body["seq"], body["hash"]) == (chain.workspace_id, 3, chain.head.hash.hex())
    assert body["updatedAt"].endswith("Z")


async def test_a_chain_without_events_begins_with_zeros(site: Site) -> None:
    workspace = str(site.tenant.workspaces[0].id)
    body = (await site.get(f"/v1/workspaces/{workspace}/chain")).json()
    assert body == {"workspaceId": workspace, "seq": 0, "hash": "0" * 64, "updatedAt": None}


async def test_a_chain_of_another_workspace_company_or_nobody_is_404(site: Site, servers: LocalStack) -> None:
    second, foreign = str(site.tenant.workspaces[1].id), servers.tenant()
    assert (await site.get(f"/v1/workspaces/{second}/chain", site.tenant.key)).status_code == 200
    for key, workspace in ((None, second), (foreign.key, second), (site.tenant.key, str(uuid4())), (None, "x")):
        assert (await site.get(f"/v1/workspaces/{workspace}/chain", key)).status_code == 404


async def test_rejections_are_paged_newest_first_each_with_its_reason(site: Site) -> None:
    older, newer = await site.reject(3), await site.reject(3, at=BASE_TIME + SECOND)
    assert await site.rejections(limit=2) == newer + older
    row = (await site.get("/v1/rejections", limit=1)).json()["data"][0]
    assert row == {
        "id": newer[0],
        "workspaceId": str(site.tenant.workspaces[0].id),
        "reason": "POISON",
        "detail": "could not be stored",
        "receivedAt": format_time(BASE_TIME),
        "rejectedAt": format_time(BASE_TIME + SECOND),
    }


async def test_rejections_are_the_callers_own(site: Site, servers: LocalStack) -> None:
    first, second, foreign = await site.reject(1), await site.reject(1, workspace=1, at=BASE_TIME + SECOND), servers.tenant()
    assert await site.rejections() == first
    assert await site.rejections(site.tenant.key) == second + first
    assert await site.rejections(site.tenant.key, workspaceId=str(site.tenant.workspaces[1].id)) == second
    assert await site.rejections(workspaceId=str(site.tenant.workspaces[1].id)) == []
    assert await site.rejections(foreign.key) == []


async def test_a_rejected_event_is_found_by_its_id_with_its_reason(site: Site, servers: LocalStack) -> None:
    (rejected,) = await site.reject(1)
    assert (await site.get(f"/v1/events/{rejected}")).json() == {"id": rejected, "status": "REJECTED", "reason": "POISON"}
    assert (await site.get(f"/v1/events/{rejected}", servers.tenant().key)).status_code == 404


async def test_the_operator_sees_the_original_bytes(site: Site) -> None:
    (rejected,) = await site.reject(1, at=BASE_TIME + 10**15)
    token = {"x-internal-token": site.settings.internal_token.get_secret_value()}
    page = (await site.client.get("/internal/rejections", params={"region": "US", "limit": 1}, headers=token)).json()
    row = page["data"][0]
    assert (row["id"], row["companyId"], b64decode(row["original"])) == (rejected, str(site.tenant.id), b"\x00\xff")
    assert (await site.get("/internal/rejections", site.tenant.key, region="US")).status_code == 401


async def test_schemas_are_public_and_cacheable_for_ever(site: Site) -> None:
    for fingerprint, schema in SCHEMAS.items():
        answer = await site.client.get(f"/v1/schemas/{fingerprint}")
        assert (answer.status_code, answer.json()) == (200, schema)
        assert "immutable" in answer.headers["cache-control"]
    assert (await site.client.get("/v1/schemas/0000000000000000")).status_code == 404


async def test_ready_when_every_database_answers(site: Site) -> None:
    assert (await site.client.get("/ready")).json() == {"status": "ready"}


@pytest.fixture
async def cut_off(servers: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """The API where nothing listens on the EU's database."""
    nowhere = SecretStr("postgresql://api:x@127.0.0.1:1/hyrelog_eu")
    async with served(create_app(servers.settings(Role.API).model_copy(update={"database_url_eu": nowhere}))) as client:
        yield client


async def test_it_starts_while_a_database_is_away_and_names_what_is_missing(cut_off: httpx.AsyncClient) -> None:
    assert (await cut_off.get("/health")).status_code == 200
    answer = await cut_off.get("/ready")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["postgres.eu"])


async def test_a_key_of_the_missing_region_is_503_and_of_others_good(cut_off: httpx.AsyncClient, servers: LocalStack) -> None:
    key = servers.tenant().key
    assert (await cut_off.get("/v1/events", headers={"Authorization": f"Bearer {key}"})).status_code == 200
    answer = await cut_off.get("/v1/events", headers={"Authorization": "Bearer hlk_eu_co_" + "0" * 48})
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"]


async def test_a_legacy_key_nobody_reachable_knows_is_503_too(cut_off: httpx.AsyncClient) -> None:
    answer = await cut_off.get("/v1/events", headers={"Authorization": "Bearer hlk_co_" + "0" * 48})
    assert answer.status_code == 503


async def test_a_statement_that_takes_too_long_is_503(servers: LocalStack, superuser: Database) -> None:
    settings = servers.settings(Role.API).model_copy(update={"statement_timeout_seconds": 0.2})
    tenant = servers.tenant()
    async with served(create_app(settings)) as client, superuser.transaction():
        headers = {"Authorization": f"Bearer {tenant.key}"}
        assert (await client.get("/v1/events", headers=headers)).status_code == 200
        await superuser.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        answer = await client.get("/v1/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")


async def test_a_database_of_another_region_is_never_read(servers: LocalStack) -> None:
    settings = servers.settings(Role.API)
    mixed_up = settings.model_copy(update={"database_url_eu": settings.database_url_us})
    async with served(create_app(mixed_up)) as client:
        answer = await client.get("/ready")
    assert answer.json()["missing"] == ["postgres.eu"]
