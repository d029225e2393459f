"""A company with events in two workspaces, and its exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from ops.clock import SystemClock
from ops.seed import Tenant
from schemas.event import StoredEvent, format_time
from schemas.plans import PlanName
from schemas.retention import DAY_MICROS
from schemas.view import render
from tests.support.archiving import PARTITION, Archive, event_id, mark, purge
from tests.support.chains import SECOND, Chain, store
from tests.support.managing import Database
from tests.support.stack import UNLIMITED, LocalStack

ARCHIVED = 20
EVENTS = 30
METADATA = b'{"=note":"-1","n":1.5,"quoted":"a \\"b\\", c"}'


@dataclass
class World:
    """Its API, and in each workspace ``EVENTS`` events of the last weeks; of the first ``ARCHIVED`` there may be an archive."""

    api: httpx.AsyncClient
    superuser: Database
    tenant: Tenant
    chains: list[Chain]
    events: list[list[StoredEvent]]
    since: int

    def key(self, workspace: int | None = None) -> dict[str, str]:
        """The headers of the company's key, or of a workspace's."""
        key = self.tenant.key if workspace is None else self.tenant.workspaces[workspace].key
        return {"Authorization": f"Bearer {key}"}

    @property
    def window(self) -> dict[str, Any]:
        """``from`` and ``to`` around all events."""
        return {"from": format_time(self.since), "to": format_time(self.since + DAY_MICROS)}

    async def create(self, workspace: int | None = None, **wish: Any) -> httpx.Response:
        """What is answered to that wish."""
        return await self.api.post("/v1/exports", headers=self.key(workspace), json={"source": "HOT", "format": "JSONL", **wish})

    async def made(self, workspace: int | None = None, **wish: Any) -> str:
        """The id of a new export."""
        answer = await self.create(workspace, **wish)
        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "PENDING"
        return str(answer.json()["jobId"])

    async def get(self, path: str, workspace: int | None = None, **headers: str) -> httpx.Response:
        """What is answered below ``/v1/exports``."""
        return await self.api.get(f"/v1/exports{path}", headers=self.key(workspace) | headers)

    async def exported(self, workspace: int | None = None, **wish: Any) -> bytes:
        """The content of a new export."""
        answer = await self.get(f"/{await self.made(workspace, **wish)}/download", workspace)
        assert answer.status_code == 200, answer.text
        return answer.content

    async def job(self, export: str) -> Any:
        """An export as it stands."""
        return (await self.get(f"/{export}")).json()

    def stored(self, first: int = 0, last: int | None = None) -> list[StoredEvent]:
        """Those events of each workspace, in the order of an export."""
        return in_order([event for each in self.events for event in each[first:last]])

    async def archive(self, archive: Archive) -> str:
        """Archive the first ones of both workspaces in one part. Returns its id."""
        part = await mark(self.superuser, self.stored(0, ARCHIVED))
        await archive.writer().archive(part)
        return part

    async def purge(self, count: int = ARCHIVED) -> None:
        """Remove what is archived of both workspaces from the database."""
        await purge(self.superuser, self.stored(0, count))


async def world_of(
    servers: LocalStack, superuser: Database, api: httpx.AsyncClient, *, plan: PlanName = "GROWTH", **overrides: Any
) -> World:
    """A new one."""
    limits: Mapping[str, Any] = {**UNLIMITED, **overrides}
    tenant = servers.tenant(workspaces=2, plan=plan, overrides=limits)
    since = (SystemClock().micros() // SECOND) * SECOND - 5 * DAY_MICROS
    chains = [Chain(str(tenant.id), str(workspace.id), partition=PARTITION) for workspace in tenant.workspaces]
    events = [[_event(chain, since + number * SECOND) for number in range(EVENTS)] for chain in chains]
    for chain, stored in zip(chains, events, strict=True):
        await store(superuser, chain, stored)
    return World(api, superuser, tenant, chains, events, since)


def _event(chain: Chain, at: int) -> StoredEvent:
    return chain.event(id=event_id(at), at=at, received_at=at + 7, metadata=METADATA, tenant_id="=cmd" if (at // SECOND) % 2 else "cust, 1")


def in_order(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """By workspace and seq."""
    return sorted(events, key=lambda event: (event.workspace_id, event.seq))


def lines(events: Sequence[StoredEvent], *, verification: bool = True) -> bytes:
    """Their JSONL."""
    return b"".join(render(event, verification=verification) + b"\n" for event in events)
