"""How deliveries are listed: along their indexes, and never much more than is shown, however many there are."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from api.finder import PLANNING
from ops.db import load_queries, open_pool, tenant_transaction
from ops.local.environment import Role
from ops.seed import Tenant
from schemas.topics import Region
from tests.support.managing import Database
from tests.support.stack import LocalStack

DELIVERIES = 40_000
DAYS = 30
PAGE = 51
MOST_BLOCKS = {"walk_all": 400, "walk_due": 50, "walk_tried": 600, "walk_failed": 3_000, "deliveries": 1_500}
"""Of 8 KiB, for a page, from a few partitions (a delivery's own attempts from all since); to read everything takes more than 5,000."""
SQL = load_queries("api.webhooks", "deliveries.sql")
ABOVE, LEAST = UUID(int=2**128 - 1), UUID(int=0)
_PARTITIONS = """
DO $$ DECLARE day date; name text;
BEGIN
  PERFORM webhook_days(30);
  FOR day IN SELECT (now() AT TIME ZONE 'UTC')::date - ago FROM generate_series(1, 30) AS ago LOOP
    name := 'webhook_attempt_' || to_char(day, 'YYYYMMDD');
    CONTINUE WHEN to_regclass(name) IS NOT NULL;
    EXECUTE format('CREATE TABLE %I PARTITION OF webhook_attempt FOR VALUES FROM (%L) TO (%L)',
      name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
  END LOOP;
END $$
"""
_ATTEMPTS = """
INSERT INTO webhook_attempt (webhook_id, delivery_id, company_id, workspace_id, seq, event_id, kind, attempt, attempted_at, state)
SELECT $1, id, $2, $3, n, gen_random_uuid(), 'EVENT', attempt, uuid_extract_timestamp(id) + attempt * interval '1 second',
  CASE WHEN attempt < last THEN 'RETRYING' WHEN n % 1000 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END
FROM (SELECT n, uuidv7(-n * $4::integer * interval '1 day' / $5::integer) AS id, CASE WHEN n % 20 = 0 THEN 2 ELSE 1 END AS last
      FROM generate_series(1, $5::integer) AS n) AS made, generate_series(1, last) AS attempt
"""
_DUE = """
INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at, attempt)
SELECT $1, uuidv7(-n * interval '1 second'), $2, $3, n, gen_random_uuid(), 'EVENT', now(), 1 + n % 2
FROM generate_series(1, $4::integer) AS n
"""


@dataclass(frozen=True)
class Busy:
    """A company with two endpoints: one to which much was sent, and one to which as much is still to be sent too."""

    tenant: Tenant
    quiet: UUID
    backlogged: UUID


@pytest.fixture(scope="module")
def busy(servers: LocalStack) -> Busy:
    found = Busy(servers.tenant(), uuid4(), uuid4())

    async def fill() -> None:
        connection = await asyncpg.connect(servers.superuser_url())
        place = (found.tenant.id, found.tenant.workspaces[0].id)
        await connection.execute(_PARTITIONS)
        for webhook in (found.quiet, found.backlogged):
            await connection.execute(_ATTEMPTS, webhook, *place, DAYS, DELIVERIES)
        await connection.execute(_DUE, found.backlogged, *place, DELIVERIES)
        await connection.execute("VACUUM ANALYZE webhook_attempt, webhook_due")
        await connection.close()

    asyncio.run(fill())
    return found


async def blocks(servers: LocalStack, busy: Busy, query: str, *arguments: Any) -> int:
    """How many blocks a query of the API reads for a page, behind the walls."""
    pool = await open_pool(servers.settings(Role.API).database_url(Region.US), application_name="plans", max_size=1)
    company = str(busy.tenant.id)
    async with pool.acquire() as connection, tenant_transaction(connection, company, readonly=True, parameters=PLANNING):
        explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SQL[query]}", *arguments)
    pool.terminate()
    (plan,) = json.loads(explained)
    read: int = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return read


@pytest.mark.parametrize("days_ago", [0, 15])
@pytest.mark.parametrize("endpoint", ["quiet", "backlogged"])
@pytest.mark.parametrize("query", ["walk_all", "walk_due", "walk_tried", "walk_failed"])
async def test_a_page_is_walked_along_an_index(
    servers: LocalStack, superuser: Database, busy: Busy, query: str, endpoint: str, days_ago: int
) -> None:
    above = ABOVE if days_ago == 0 else await superuser.fetchval("SELECT uuidv7(-$1::integer * interval '1 day')", days_ago)
    webhook: UUID = getattr(busy, endpoint)
    assert await blocks(servers, busy, query, webhook, busy.tenant.id, above, LEAST, PAGE) <= MOST_BLOCKS[query]


async def test_what_is_shown_is_looked_up_one_by_one(servers: LocalStack, superuser: Database, busy: Busy) -> None:
    rows = await superuser.fetch(
        "SELECT delivery_id FROM webhook_attempt WHERE webhook_id = $1 ORDER BY delivery_id DESC LIMIT $2", busy.backlogged, PAGE
    )
    shown = [row[0] for row in rows]
    assert await blocks(servers, busy, "deliveries", busy.backlogged, busy.tenant.id, shown) <= MOST_BLOCKS["deliveries"]
