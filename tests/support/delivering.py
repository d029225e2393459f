"""Endpoints made straight in the database, and the webhook sink with its dispatcher in the test's own loop."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from prometheus_client import CollectorRegistry

from ops.addresses import exemption
from ops.clock import SystemClock
from ops.db import use_micros
from ops.faults import FaultPoints
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.sealing import Sealer
from ops.settings import Settings
from schemas.event import StoredEvent
from schemas.webhooks import NOTICES, delivery_id, make_secret
from sinks.consumer import GroupMember
from sinks.region import RegionSink
from sinks.webhooks.dispatcher import Dispatcher
from sinks.webhooks.handle import handle
from sinks.webhooks.store import WebhookStore
from tests.support.chains import Chain
from tests.support.managing import Database
from tests.support.receiver import Receiver, receiving
from tests.support.sinking import REGION, Topic, open_topic, persist, until
from tests.support.stack import LocalStack

FAST = (0.1, 0.1, 0.1, 0.1)
"""Pauses between attempts, so that a test sees all of them."""


@dataclass(frozen=True)
class Hook:
    """An endpoint."""

    id: str
    secret: str


@dataclass(frozen=True)
class Scene:
    """Customers' endpoints, the topic they are told of, and the database between."""

    servers: LocalStack
    receiver: Receiver
    topic: Topic
    database: Database
    settings: Settings

    def chain(self) -> Chain:
        """The chain of a new company's workspace."""
        tenant = self.servers.tenant(REGION)
        return Chain(str(tenant.id), str(tenant.workspaces[0].id), REGION)

    async def hook(
        self,
        chain: Chain,
        path: str,
        *,
        filters: Mapping[str, Any] | None = None,
        project_id: str | None = None,
        secret: bytes | None = None,
    ) -> Hook:
        """An endpoint of the receiver that is told what is stored from now on, as the API makes it."""
        hook = Hook(str(uuid4()), make_secret(os.urandom(32)))
        sealed = secret or Sealer.of(self.settings).seal(hook.secret.encode(), hook.id)
        await self.database.execute(
            "INSERT INTO webhook_head (workspace_id, company_id, seq) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            chain.workspace_id, chain.company_id, chain.head.seq,
        )  # fmt: skip
        await self.database.execute(
            "INSERT INTO webhook (id, company_id, workspace_id, project_id, url, events, filters, from_seq, secret) "
            "VALUES ($1, $2, $3, $4, $5, '{AUDIT_EVENT_CREATED}', $6, $7, $8)",
            hook.id, chain.company_id, chain.workspace_id, project_id, self.receiver.url(path), json.dumps(filters or {}),
            chain.head.seq + 1, sealed,
        )  # fmt: skip
        return hook

    async def rotate(self, hook: Hook) -> Hook:
        """Another secret beside the old one."""
        new = Hook(hook.id, make_secret(os.urandom(32)))
        statement = (
            "UPDATE webhook SET previous_secret = secret, previous_until = now() + interval '1 day', secret = $2, updated_at = now() "
            "WHERE id = $1"
        )
        await self.database.execute(statement, hook.id, Sealer.of(self.settings).seal(new.secret.encode(), hook.id))
        return new

    async def disable(self, hook: Hook, *, deleted: bool = False) -> None:
        """As its owner does."""
        statement = (
            "UPDATE webhook SET enabled = false, disabled_reason = 'MANUAL', disabled_at = now(), "
            "deleted_at = CASE WHEN $2 THEN now() END WHERE id = $1"
        )
        await self.database.execute(statement, hook.id, deleted)
        await self.notify()

    async def test(self, chain: Chain, hook: Hook) -> None:
        """A test of it is due."""
        await self.database.execute(
            "INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, kind, due_at) VALUES ($1, $2, $3, $4, 'TEST', now())",
            hook.id, uuid4(), chain.company_id, chain.workspace_id,
        )  # fmt: skip
        await self.notify()

    async def replay(self, chain: Chain, hook: Hook, **wanted: Any) -> UUID:
        """Events are to be sent again: those of a range of times or seqs, or of these ids."""
        made = uuid4()
        names = ", ".join(wanted)
        places = ", ".join(f"${number}" for number in range(5, 5 + len(wanted)))
        await self.database.execute(
            f"INSERT INTO webhook_replay (id, webhook_id, company_id, workspace_id, {names}) VALUES ($1, $2, $3, $4, {places})",
            made, hook.id, chain.company_id, chain.workspace_id, *wanted.values(),
        )  # fmt: skip
        await self.notify()
        return made

    async def make_due(self, hook: Hook, events: Sequence[StoredEvent]) -> None:
        """Deliveries that nobody has claimed."""
        rows = [
            (hook.id, delivery_id(hook.id, each.id, each.received_at), each.company_id, each.workspace_id, each.seq, each.id)
            for each in events
        ]
        await self.database.execute(
            "INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at) "
            "SELECT *, 'EVENT', now() FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::uuid[])",
            *map(list, zip(*rows, strict=True)),
        )  # fmt: skip
        await self.notify()

    async def notify(self) -> None:
        """Tell dispatchers that there is something to do, as the API does."""
        await self.database.execute("SELECT pg_notify($1, '')", NOTICES)

    async def tell(self, chain: Chain, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Store events and announce them."""
        stored = await persist(self.database, chain, events)
        await self.topic.announce(stored)
        return stored

    async def attempts(self, hook: Hook) -> list[dict[str, Any]]:
        """Each attempt that is on record, by delivery and in order."""
        rows = await self.database.fetch(
            "SELECT * FROM webhook_attempt WHERE webhook_id = $1 ORDER BY delivery_id, attempted_at, attempt", hook.id
        )
        return [dict(row) for row in rows]

    async def due(self, hook: Hook) -> int:
        """How many deliveries are to be made to it."""
        count: int = await self.database.fetchval("SELECT count(*) FROM webhook_due WHERE webhook_id = $1", hook.id)
        return count

    async def over(self, hook: Hook, count: int) -> list[dict[str, Any]]:
        """Wait until there are so many attempts, and nothing is to be sent."""

        async def is_over() -> bool:
            return await self.due(hook) == 0 and len(await self.attempts(hook)) >= count

        await until(is_over)
        return await self.attempts(hook)

    async def row(self, hook: Hook) -> Any:
        """The endpoint as it is."""
        return await self.database.fetchrow("SELECT * FROM webhook WHERE id = $1", hook.id)


@asynccontextmanager
async def scene(servers: LocalStack, database: Database, **changes: Any) -> AsyncIterator[Scene]:
    """A receiver on a free port, which dispatchers with these settings may reach; nobody else's endpoints are told of anything."""
    await database.execute("UPDATE webhook SET enabled = false, disabled_reason = 'MANUAL', disabled_at = now() WHERE enabled")
    await database.execute("UPDATE webhook_replay SET state = 'CANCELLED', finished_at = now() WHERE state = 'RUNNING'")
    await database.execute("DELETE FROM webhook_due WHERE due_at < '9999-01-01T00:00:00Z'")
    async with receiving() as receiver, open_topic(servers) as topic:
        base = servers.settings(Role.WEBHOOKS)
        allowed = {
            "egress_allow": (exemption(f"127.0.0.1/32:{receiver.port}"),),
            "regions": (REGION,),
            "sinks_session_timeout_seconds": 6.0,
        }
        yield Scene(servers, receiver, topic, database, base.model_copy(update=allowed | changes))


@asynccontextmanager
async def reconnected(stage: Scene) -> AsyncIterator[Scene]:
    """The same scene, its database's connection made anew."""
    connection = await asyncpg.connect(stage.servers.superuser_url())
    try:
        await use_micros(connection)
        yield replace(stage, database=connection)
    finally:
        await connection.close()


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
        consumer = RegionSink("webhooks", handle, open_store, settings, REGION, metrics=metrics, clock=clock, faults=faults)
        async with consumer, GroupMember("webhooks", settings, [consumer]):
            yield metrics


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """A metric of the dispatcher."""
    return metrics.registry.get_sample_value(name, {"region": REGION.value} | labels) or 0.0
