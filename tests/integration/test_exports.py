"""``/v1/exports`` on real databases: what an export holds, whatever happens meanwhile, and what its manifest says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest

from api.app import create_app
from ops.local.environment import Role
from ops.seed import Tenant
from schemas.event import StoredEvent
from schemas.view import render
from tests.support.chains import Chain, store
from tests.support.managing import Database, told
from tests.support.serving import served
from tests.support.stack import LocalStack

EVENTS = 30


@pytest.fixture
async def api(servers: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    async with served(create_app(servers.settings(Role.API))) as client:
        yield client


@dataclass
class World:
    """A company of two workspaces with events in both, and its API."""

    api: httpx.AsyncClient
    tenant: Tenant
    chains: list[Chain]
    events: list[list[StoredEvent]]

    def key(self, workspace: int | None = None) -> dict[str, str]:
        key = self.tenant.key if workspace is None else self.tenant.workspaces[workspace].key
        return {"Authorization": f"Bearer {key}"}

    async def create(self, workspace: int | None = None, **wish: Any) -> httpx.Response:
        return await self.api.post("/v1/exports", headers=self.key(workspace), json={"source": "HOT", "format": "JSONL", **wish})

    async def made(self, workspace: int | None = None, **wish: Any) -> str:
        answer = await self.create(workspace, **wish)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    async def get(self, path: str, workspace: int | None = None, **headers: str) -> httpx.Response:
        return await self.api.get(f"/v1/exports{path}", headers=self.key(workspace) | headers)

    def stored(self) -> list[StoredEvent]:
        """All events in the order of an export."""
        return sorted((event for each in self.events for event in each), key=lambda event: (event.workspace_id, event.seq))


@pytest.fixture
async def world(servers: LocalStack, superuser: Database, api: httpx.AsyncClient) -> World:
    tenant = servers.tenant(workspaces=2)
    chains = [Chain(str(tenant.id), str(workspace.id)) for workspace in tenant.workspaces]
    events = [chain.events(EVENTS) for chain in chains]
    for chain, stored in zip(chains, events, strict=True):
        await store(superuser, chain, stored)
    return World(api, tenant, chains, events)


def lines(events: list[StoredEvent], *, verification: bool = True) -> bytes:
    return b"".join(render(event, verification=verification) + b"\n" for event in events)


async def test_an_export_is_what_was_stored_byte_for_byte(world: World, superuser: Database) -> None:
    """By workspace and seq, with all that is needed to verify it; and the manifest says what it came to."""
    export = await world.made()
    before = await world.get(f"/{export}/manifest")
    assert (before.status_code, before.json()["code"]) == (409, "CONFLICT")
    answer = await world.get(f"/{export}/download")
    stored = world.stored()
    assert answer.content == lines(stored)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == f'attachment; filename="hyrelog-export-{export}.jsonl"'
    job = (await world.get(f"/{export}")).json()
    assert (job["status"], job["rows"], job["truncated"], job["reason"]) == ("SUCCEEDED", str(2 * EVENTS), False, None)
    manifest = (await world.get(f"/{export}/manifest")).json()
    assert manifest["sha256"] == sha256(answer.content).hexdigest()
    assert (manifest["bytes"], manifest["rows"], manifest["filtered"]) == (str(len(answer.content)), str(2 * EVENTS), False)
    firsts, lasts = ([each[at] for each in sorted(world.events, key=lambda each: each[0].workspace_id)] for at in (0, -1))
    assert manifest["workspaces"] == [
        {
            "workspaceId": first.workspace_id,
            "rows": str(EVENTS),
            "firstSeq": 1,
            "firstPrevHash": "0" * 64,
            "firstHash": first.hash.hex(),
            "lastSeq": EVENTS,
            "lastHash": last.hash.hex(),
        }
        for first, last in zip(firsts, lasts, strict=True)
    ]
    entries = [(entry.action, entry.outcome, entry.target["id"]) for entry in await told(superuser, world.tenant.id)]
    assert entries == [("export.create", "SUCCESS", export), ("export.download", "SUCCESS", export)]
    assert orjson.loads(answer.content.splitlines()[0])["verification"]["v"] == 1
