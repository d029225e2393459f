"""Endpoints of webhooks made over the API, as customers make them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import aiohttp
import psycopg

from ops.seed import Tenant
from ops.settings import Settings
from schemas.topics import Region
from tests.support.managing import LOOPBACK
from tests.support.stack import create_tenant

_BIND = "UPDATE api_key SET ip_allowlist = %s::text[]::cidr[] WHERE company_id = %s AND workspace_id IS NULL"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, and the secret it was told once."""

    id: str
    secret: str
    workspace_id: str


def bound_tenant(settings: Settings, region: Region, name: str, *, workspaces: int = 1) -> Tenant:
    """A new company that may have 20 endpoints, and whose company key may manage them."""
    tenant = create_tenant(settings, region, name, plan="ENTERPRISE", workspaces=workspaces)
    with psycopg.connect(settings.database_url(region)) as connection:
        connection.execute(_BIND, (list(LOOPBACK), tenant.id))
    return tenant


async def create_endpoint(session: aiohttp.ClientSession, tenant: Tenant, workspace_id: UUID, url: str) -> Endpoint:
    """A new endpoint of the workspace, told of all its events. ``session`` has the API's URL. Of a company's calls only ten a minute go."""
    body = {"url": url, "events": ["AUDIT_EVENT_CREATED"]}
    async with session.post(f"/v1/workspaces/{workspace_id}/webhooks", json=body, headers=_access(tenant)) as answer:
        made = await answer.json()
        if answer.status != 201:
            raise AssertionError(f"an endpoint was answered {answer.status}: {made}")
    return Endpoint(made["id"], made["secret"], str(workspace_id))


async def delete_endpoint(session: aiohttp.ClientSession, tenant: Tenant, endpoint: Endpoint) -> None:
    """Delete it: what is still due to it is given up."""
    async with session.delete(f"/v1/webhooks/{endpoint.id}", headers=_access(tenant)) as answer:
        if answer.status >= 300:
            raise AssertionError(f"deleting an endpoint was answered {answer.status}: {await answer.text()}")


def _access(tenant: Tenant) -> dict[str, str]:
    return {"Authorization": f"Bearer {tenant.key}"}
