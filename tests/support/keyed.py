"""Posting with idempotency keys to two ingest processes, and looking at what became of each id."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import httpx

from ops.local.environment import Role
from ops.seed import Tenant
from schemas.idempotency import content_hashes
from schemas.ids import uuid7
from schemas.incoming import read
from tests.support.doors import bearer
from tests.support.posting import BATCH, LEAST, SINGLE
from tests.support.stack import LocalStack

PATIENCE = 60.0
DAY_MICROS = 86_400_000_000
Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Fates = dict[str, str]
"""What each id leads to: the id of a stored event, or the reason of its rejection."""
_FATES = """
SELECT id, id::text AS fate FROM events WHERE workspace_id = $1
UNION SELECT id, event_id::text FROM event_alias WHERE workspace_id = $1
UNION SELECT id, reason FROM rejected WHERE workspace_id = $1
"""


def now_micros() -> int:
    """The time, in microseconds."""
    return time.time_ns() // 1000


class Writer:
    """A workspace of its own, to which events are posted by any ingest process. The database connection speaks in microseconds."""

    def __init__(self, stack: LocalStack, database: Database) -> None:
        self.tenant: Tenant = stack.tenant()
        self.workspace = str(self.tenant.workspaces[0].id)
        self.key = self.tenant.workspaces[0].key
        self._database = database
        self._secrets = stack.settings(Role.INGEST).secrets("idempotency_secret")

    async def post(self, door: httpx.AsyncClient, key: str | None, event: Mapping[str, Any] = LEAST, **headers: str) -> httpx.Response:
        """One event, its key in the header."""
        named = headers if key is None else headers | {"idempotency_key": key}
        return await door.post(SINGLE, json=dict(event), headers=bearer(self.key, **named), timeout=PATIENCE)

    async def post_all(self, door: httpx.AsyncClient, *events: Mapping[str, Any]) -> httpx.Response:
        """A batch."""
        return await door.post(BATCH, json=[LEAST | dict(event) for event in events], headers=bearer(self.key), timeout=PATIENCE)

    async def claim(self, key: str, event: Mapping[str, Any] = LEAST, *, received_at: int | None = None) -> str:
        """Claim a key and die before anything is published. Returns the id proposed."""
        received = now_micros() if received_at is None else received_at
        event_id = uuid7(received, bytes(10))
        content = content_hashes(self._secrets, read(dict(event), received).content)
        row = (self.workspace, key, self.tenant.id, event_id, content, received)
        await self._database.execute("INSERT INTO key_claim VALUES ($1, $2, $3, $4, $5, $6)", *row)
        return event_id

    async def claimed(self) -> set[str]:
        """The keys that are claimed."""
        return {row["key"] for row in await self._database.fetch("SELECT key FROM key_claim WHERE workspace_id = $1", self.workspace)}

    async def fates(self, *ids: str) -> Fates:
        """What became of all ids of the workspace, once these have become something."""
        async with asyncio.timeout(PATIENCE):
            while True:
                rows = await self._database.fetch(_FATES, self.workspace)
                found = {str(row["id"]): row["fate"] for row in rows}
                if found.keys() >= set(ids):
                    assert len(rows) == len(found)
                    return found
                await asyncio.sleep(0.05)


@asynccontextmanager
async def held(stack: LocalStack, statement: str) -> AsyncIterator[None]:
    """Keep the locks of a statement for as long as the block lasts."""
    connection = await asyncpg.connect(stack.superuser_url())
    try:
        async with connection.transaction():
            await connection.execute(statement)
            yield
    finally:
        await connection.close()


NO_CLAIMS = "LOCK TABLE key_claim IN ACCESS EXCLUSIVE MODE"
"""No claim is answered: as if Postgres were away from ingest."""
NO_EVENTS = "LOCK TABLE events IN ACCESS EXCLUSIVE MODE"
"""No event can be read, nor stored."""
NO_CHAIN = "SELECT FROM source FOR UPDATE"
"""Nothing is stored: events are on their way. Not for longer than the worker's patience with a lock."""
