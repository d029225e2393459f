"""A company that may have webhooks, and the API that manages them, without anything that delivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx

from ops.seed import Tenant
from ops.settings import Settings
from schemas.event import StoredEvent
from schemas.webhooks import delivery_id
from tests.support.chains import Chain, store
from tests.support.managing import Database, Told, told

URL = "https://hooks.example.com/hyrelog?token=t0p"
EVENTS = ["AUDIT_EVENT_CREATED"]
PAST = 1_600_000_000_000_000
"""Long enough ago for no partition of attempts."""


@dataclass(frozen=True)
class Desk:
    """The API, a company of two workspaces whose company key may manage, and the database below."""

    client: httpx.AsyncClient
    tenant: Tenant
    superuser: Database
    settings: Settings

    @property
    def workspace(self) -> str:
        return str(self.tenant.workspaces[0].id)

    @property
    def place(self) -> str:
        """Where endpoints of the first workspace are made."""
        return f"/v1/workspaces/{self.workspace}/webhooks"

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        """A request, as often as one likes: the minute's operations begin anew."""
        await self.superuser.execute("DELETE FROM management_use WHERE company_id = $1", self.tenant.id)
        headers = {"Authorization": f"Bearer {key or self.tenant.key}"}
        return await self.client.request(method, path, headers=headers, **({} if body is None else {"json": body}))

    async def create(self, **wish: Any) -> dict[str, Any]:
        """A new endpoint."""
        answer = await self.ask("POST", self.place, {"url": URL, "events": EVENTS} | wish)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def get(self, webhook: str, rest: str = "") -> dict[str, Any]:
        """What is told of an endpoint."""
        answer = await self.ask("GET", f"/v1/webhooks/{webhook}{rest}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def act(self, webhook: str, verb: str, body: Any = None) -> httpx.Response:
        """Do something to an endpoint."""
        return await self.ask("POST", f"/v1/webhooks/{webhook}/{verb}", body)

    async def told(self) -> list[Told]:
        return await told(self.superuser, self.tenant.id)

    async def store(self, count: int) -> list[StoredEvent]:
        """Events in the first workspace, a second apart. To be called once."""
        chain = Chain(str(self.tenant.id), self.workspace, self.tenant.region)
        events = chain.events(count)
        await store(self.superuser, chain, events)
        return events

    async def columns(self, webhook: str) -> Mapping[str, Any]:
        """Its row."""
        row = await self.superuser.fetchrow("SELECT * FROM webhook WHERE id = $1", UUID(webhook))
        assert row is not None
        return dict(row)


async def due(desk: Desk, webhook: str, event: StoredEvent, **columns: Any) -> str:
    """A delivery that is still to be made; ``columns`` replace those of one that is due."""
    made = delivery_id(webhook, event.id, event.received_at)
    values = {"kind": "EVENT", "due_at": event.received_at, "claimed": False, "attempt": 1, "failures": 0} | columns
    await desk.superuser.execute(
        "INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at, claimed, attempt, failures) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        webhook, made, desk.tenant.id, desk.workspace, event.seq, event.id, *values.values(),
    )  # fmt: skip
    return made


async def attempted(desk: Desk, webhook: str, event: StoredEvent, states: Sequence[str], *, at: int, kind: str = "EVENT") -> str:
    """A delivery's attempts that ended in those states, a second apart from ``at`` (microseconds, today)."""
    made = delivery_id(webhook, event.id, event.received_at)
    for number, state in enumerate(states, 1):
        answer = 200 if state == "SUCCEEDED" else 503
        await desk.superuser.execute(
            "INSERT INTO webhook_attempt (webhook_id, delivery_id, company_id, workspace_id, seq, event_id, kind, attempt, attempted_at, "
            "duration_ms, state, response_status, body_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 12, $10, $11, $12)",
            webhook, made, desk.tenant.id, desk.workspace, event.seq, event.id, kind, number, at + number * 1_000_000, state, answer,
            bytes(32),
        )  # fmt: skip
    return made


def nobodys() -> str:
    """An id that is nobody's."""
    return str(uuid4())
