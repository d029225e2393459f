"""A company whose events are tailed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from ops.seed import Tenant
from tests.support.stack import LocalStack

LEAST = {"category": "auth", "action": "user.login"}


def bearer(key: str | None) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {key}"}


@dataclass
class Site:
    """The stack, a company and a client."""

    stack: LocalStack
    tenant: Tenant
    client: httpx.AsyncClient

    @property
    def keys(self) -> tuple[str | None, str | None]:
        """A workspace's, and its company's."""
        return self.tenant.workspaces[0].key, self.tenant.key

    @property
    def url(self) -> str:
        return self.stack.base_url

    async def post(self, number: int, *events: dict[str, Any]) -> None:
        """Send events, one at least, to the company's workspace with that number."""
        bodies = [LEAST | event for event in events or ({},)]
        answer = await self.client.post("/v1/events/batch", json=bodies, headers=bearer(self.tenant.workspaces[number].key))
        assert answer.status_code == 202, answer.text

    async def store(self, number: int = 0, event: dict[str, Any] | None = None) -> Any:
        """The same of one event; returns it as stored."""
        headers = bearer(self.tenant.workspaces[number].key) | {"Prefer": "wait=30"}
        answer = await self.client.post("/v1/events", json=LEAST | (event or {}), headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def stored(self) -> dict[str, list[str]]:
        """The ids of what the company's workspaces hold, in order of seq."""
        rows = self.sql("SELECT workspace_id, id FROM events WHERE company_id = %s ORDER BY workspace_id, seq", self.tenant.id)
        found: dict[str, list[str]] = defaultdict(list)
        for workspace_id, event_id in rows:
            found[str(workspace_id)].append(str(event_id))
        return found

    def sql(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.superuser_url(), autocommit=True) as connection:
            cursor = connection.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    async def fill(self, number: int, batches: int, size: int, event: dict[str, Any] | None = None) -> None:
        """Batches, one after the other. What is refused or lost on the way is nobody's event."""
        for _ in range(batches):
            with suppress(httpx.HTTPError, AssertionError):
                await self.post(number, *(event or {} for _ in range(size)))

    async def store_at_last(self) -> Any:
        """Store one event, however often it takes until that can be done."""
        async with asyncio.timeout(60):
            while True:
                with suppress(httpx.HTTPError, AssertionError):
                    return await self.store()

    async def noticed(self, sentence: str) -> None:
        """Wait until the operator is told."""
        headers = {"x-internal-token": self.stack.internal_token}
        async with asyncio.timeout(30):
            while sentence not in (await self.client.get("/internal/health", headers=headers)).text:
                await asyncio.sleep(0.1)

    def purge(self, workspace_id: str, first: int, last: int) -> None:
        """Take stored events away, past everything that forbids it."""
        self.sql("ALTER TABLE events DISABLE TRIGGER events_no_delete")
        self.sql("DELETE FROM events WHERE workspace_id = %s AND seq BETWEEN %s AND %s", workspace_id, first, last)
        self.sql("ALTER TABLE events ENABLE TRIGGER events_no_delete")
