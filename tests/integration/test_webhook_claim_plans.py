"""How dispatchers claim and settle: along their index, although PostgreSQL has only ever seen the table all but empty."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from ops.db import load_queries
from ops.local.environment import Role
from schemas.topics import Region
from tests.support.managing import Database
from tests.support.stack import LocalStack

SQL = load_queries("sinks.webhooks")
ENDPOINTS, WAITING, CLAIMED = 4, 5_000, 50
MOST_BLOCKS = 10_000
"""Of 8 KiB, for 200 deliveries; to read all that is due again and again takes a hundred thousand."""
_ENDPOINT = """
INSERT INTO webhook (id, company_id, workspace_id, url, events, from_seq, secret)
SELECT gen_random_uuid(), company_id, id, 'https://example.org/', '{X}', 1, '' FROM workspace WHERE company_id = $1 RETURNING id
"""
_DUE = """
INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at)
SELECT w.id, gen_random_uuid(), w.company_id, w.workspace_id, n, gen_random_uuid(), 'EVENT', now() - interval '1 second'
FROM webhook w, generate_series(1, $2::integer) AS n WHERE w.id = ANY($1::uuid[])
"""


@pytest.fixture
async def database(servers: LocalStack) -> AsyncIterator[Database]:
    """Of a region in which nothing else is due."""
    connection = await asyncpg.connect(servers.superuser_url(Region.AU))
    yield connection
    await connection.close()


@pytest.fixture
async def endpoints(database: Database) -> AsyncIterator[list[UUID]]:
    """Endpoints that much is due to, of a table in which vacuum has seen nothing though it had been as full before."""
    company = uuid4()
    await database.execute("INSERT INTO company (id, name, plan) VALUES ($1, 'Busy', 'ENTERPRISE')", company)
    found = [await database.fetchval(_ENDPOINT, company) for _ in range(ENDPOINTS)]
    await database.execute(_DUE, found, WAITING)
    await database.execute("DELETE FROM webhook_due WHERE webhook_id = ANY($1::uuid[])", found)
    await database.execute("VACUUM (ANALYZE, TRUNCATE false) webhook_due")
    await database.execute(_DUE, found, WAITING)
    yield found
    await database.execute("DELETE FROM webhook_due WHERE webhook_id = ANY($1::uuid[])", found)


async def blocks(connection: Database, query: str, *arguments: Any) -> int:
    """How many blocks a statement of the dispatchers reads."""
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SQL[query]}", *arguments)
    (plan,) = json.loads(explained)
    read: int = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return read


async def test_a_claim_and_its_end_cost_as_much_as_they_take(servers: LocalStack, database: Database, endpoints: list[UUID]) -> None:
    """However much else is due. Each row read for each row claimed would be seconds a claim, just when there is most to do."""
    dispatcher = await asyncpg.connect(servers.settings(Role.WEBHOOKS).database_url(Region.AU))
    await database.execute("SELECT webhook_days(30)")
    rooms = [CLAIMED] * ENDPOINTS
    assert await blocks(dispatcher, "claim", endpoints, rooms, 60.0, 20) < MOST_BLOCKS
    rows = await database.fetch("SELECT webhook_id, id FROM webhook_due WHERE claimed AND webhook_id = ANY($1::uuid[])", endpoints)
    assert len(rows) == ENDPOINTS * CLAIMED
    count = len(rows)
    ended = ([row["webhook_id"] for row in rows], [row["id"] for row in rows], ["EVENT"] * count, [1] * count, [0] * count)
    told = ([None] * count, [0.1] * count, [3] * count, ["SUCCEEDED"] * count, [204] * count, [None] * count, [b"\0" * 32] * count)
    assert await blocks(dispatcher, "settle", *ended, *told) < MOST_BLOCKS
    await dispatcher.close()
