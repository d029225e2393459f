"""What a dispatcher's claim takes, and the traces that many deliveries leave in its tables."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from ops.db import load_queries
from ops.local.environment import Role
from tests.bench.bench import Bench
from tests.bench.pipeline import REGION
from tests.bench.stats import Percentiles, percentiles

CLAIMED = 50
"""Deliveries of each endpoint that a claim takes."""
_CLAIMS = 50
_LEASE_SECONDS, _MOST_ATTEMPTS = 60.0, 20
_AT_ONCE = 10_000
_ENDPOINTS = "SELECT id FROM webhook WHERE workspace_id = ANY($1::uuid[]) AND enabled ORDER BY id"
_MAKE_DUE = """
INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at)
SELECT w.id, gen_random_uuid(), w.company_id, w.workspace_id, 1, gen_random_uuid(), 'EVENT', now() - interval '1 second'
FROM webhook w, generate_series(1, $2::integer) WHERE w.id = ANY($1::uuid[])
"""
_CLAIM_ALL = "UPDATE webhook_due SET claimed = true, due_at = now() + interval '1 minute' WHERE webhook_id = ANY($1::uuid[])"
_SETTLE_ALL = """
WITH over AS (DELETE FROM webhook_due WHERE webhook_id = ANY($1::uuid[]) RETURNING *)
INSERT INTO webhook_attempt (webhook_id, delivery_id, company_id, workspace_id, seq, event_id, kind, attempt, attempted_at, duration_ms,
                             state, response_status, body_hash)
SELECT webhook_id, id, company_id, workspace_id, seq, event_id, kind, attempt, now(), 3, 'SUCCEEDED', 204, sha256(id::text::bytea) FROM over
"""


async def seconds_a_claim(bench: Bench, workspaces: Sequence[str]) -> Percentiles:
    """Of the dispatchers' own statement, asked for ``CLAIMED`` deliveries of each workspace's endpoint; nothing of it is left behind.

    Planned with what autovacuum finds when it looks at a moment at which nothing is due, as it mostly does.
    """
    claim = load_queries("sinks.webhooks")["claim"]
    await _analyze(bench)
    async with _connected(bench) as connection:
        endpoints = [row["id"] for row in await connection.fetch(_ENDPOINTS, workspaces)]
        attempt = connection.transaction()
        await attempt.start()
        await connection.execute(_MAKE_DUE, endpoints, CLAIMED * _CLAIMS)
        taken = []
        for _ in range(_CLAIMS):
            began = time.perf_counter()
            await connection.fetch(claim, endpoints, [CLAIMED] * len(endpoints), _LEASE_SECONDS, _MOST_ATTEMPTS)
            taken.append(time.perf_counter() - began)
        await attempt.rollback()
    return percentiles(taken)


async def fill_deliveries(bench: Bench, workspaces: Sequence[str], count: int) -> None:
    """As if so many deliveries had been made: each row made due, claimed, removed and its attempt recorded, ten thousand a transaction."""
    async with _connected(bench) as connection:
        endpoints = [row["id"] for row in await connection.fetch(_ENDPOINTS, workspaces)]
        for _ in range(count // _AT_ONCE):
            await connection.execute(_MAKE_DUE, endpoints, _AT_ONCE // len(endpoints))
            await connection.execute(_CLAIM_ALL, endpoints)
            await connection.execute(_SETTLE_ALL, endpoints)


async def _analyze(bench: Bench) -> None:
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        await connection.execute("ANALYZE webhook_due")
    finally:
        await connection.close()


@asynccontextmanager
async def _connected(bench: Bench) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(bench.stack.settings(Role.WEBHOOKS).database_url(REGION))
    try:
        yield connection
    finally:
        await connection.close()
