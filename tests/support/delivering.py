"""Endpoints made straight in the database, and the webhook sink with its dispatcher in the test's own loop."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry

from ops.addresses import exemption
from ops.clock import SystemClock
from ops.faults import FaultPoints
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.sealing import Sealer
from ops.settings import Settings
from schemas.webhooks import make_secret
from sinks.region import RegionSink
from sinks.webhooks.dispatcher import Dispatcher
from sinks.webhooks.handle import handle
from sinks.webhooks.store import WebhookStore
from tests.support.chains import Chain
from tests.support.managing import Database
from tests.support.sinking import REGION
from tests.support.stack import LocalStack


@dataclass
class Hook:
    """An endpoint."""

    id: str
    secret: str


def settings_for(stack: LocalStack, port: int, **changes: Any) -> Settings:
    """A dispatcher's, who may reach that port of this machine."""
    base = stack.settings(Role.WEBHOOKS)
    return base.model_copy(update={"egress_allow": (exemption(f"127.0.0.1/32:{port}"),), "regions": (REGION,), **changes})


def owned_chain(stack: LocalStack) -> Chain:
    """The chain of a new company's workspace."""
    tenant = stack.tenant(REGION)
    return Chain(str(tenant.id), str(tenant.workspaces[0].id), REGION)


async def add_hook(
    database: Database,
    settings: Settings,
    chain: Chain,
    url: str,
    *,
    filters: Mapping[str, Any] | None = None,
    project_id: str | None = None,
    enabled: bool = True,
) -> Hook:
    """An endpoint that is told what is stored from now on, as the API makes it."""
    hook = Hook(str(uuid4()), make_secret(os.urandom(32)))
    sealed = Sealer.of(settings).seal(hook.secret.encode(), hook.id)
    await database.execute(
        "INSERT INTO webhook_head (workspace_id, company_id, seq) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        chain.workspace_id, chain.company_id, chain.head.seq,
    )  # fmt: skip
    await database.execute(
        "INSERT INTO webhook (id, company_id, workspace_id, project_id, url, events, filters, from_seq, secret, enabled, disabled_reason, "
        "disabled_at) VALUES ($1, $2, $3, $4, $5, '{AUDIT_EVENT_CREATED}', $6, $7, $8, $9, CASE WHEN NOT $9 THEN 'MANUAL' END, "
        "CASE WHEN NOT $9 THEN now() END)",
        hook.id, chain.company_id, chain.workspace_id, project_id, url, json.dumps(filters or {}), chain.head.seq + 1, sealed, enabled,
    )  # fmt: skip
    return hook


@asynccontextmanager
async def dispatching(settings: Settings, *, sink: bool = True) -> AsyncIterator[Metrics]:
    """The webhook sink at work on the region, and its dispatcher; or a dispatcher alone."""
    metrics, clock, faults = Metrics(CollectorRegistry()), SystemClock(), FaultPoints(None)
    dispatcher = Dispatcher(settings, REGION, metrics=metrics, clock=clock, faults=faults)
    open_store = partial(WebhookStore, intake=dispatcher)
    async with dispatcher:
        if not sink:
            yield metrics
            return
        async with RegionSink("webhooks", handle, open_store, settings, REGION, metrics=metrics, clock=clock, faults=faults):
            yield metrics


async def attempts(database: Database, hook: Hook) -> list[dict[str, Any]]:
    """Each attempt to the endpoint, in order."""
    rows = await database.fetch("SELECT * FROM webhook_attempt WHERE webhook_id = $1 ORDER BY attempted_at, attempt", hook.id)
    return [dict(row) for row in rows]


async def due(database: Database, hook: Hook) -> int:
    """How many deliveries are to be made to it."""
    count: int = await database.fetchval("SELECT count(*) FROM webhook_due WHERE webhook_id = $1", hook.id)
    return count


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """A metric of the dispatcher."""
    return metrics.registry.get_sample_value(name, {"region": REGION.value} | labels) or 0.0
