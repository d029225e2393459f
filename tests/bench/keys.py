"""Idempotency keys that are there already, so that new ones are looked for among many."""

from __future__ import annotations

import asyncpg

from tests.bench.bench import Bench
from tests.bench.pipeline import REGION

_FILL = """
INSERT INTO event_key (workspace_id, key, company_id, seq, event_id, content)
SELECT w.id, 'filled-' || md5(n::text), $1::uuid, n, gen_random_uuid(), sha256(n::text::bytea)
FROM generate_series(1, $2::bigint) n
JOIN unnest($3::uuid[]) WITH ORDINALITY AS w (id, number) ON w.number = 1 + n % array_length($3::uuid[], 1)
"""


async def fill_keys(bench: Bench, count: int) -> None:
    """Add keys of the bench's workspaces to the worker's table, as if so many events had come with one."""
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        await connection.execute(_FILL, str(bench.tenant.id), count, [str(each.id) for each in bench.tenant.workspaces])
        await connection.execute("ANALYZE event_key")
    finally:
        await connection.close()
