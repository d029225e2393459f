"""The read path: the statements of the API and of the announcer, warm, over random picks."""

from __future__ import annotations

import json
import random
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tests.bench.events_table.layout import FIRST_DAY, SOURCE_PARTITIONS
from tests.bench.events_table.rows import SPAN_MICROS, Rows

BY_ID = "SELECT * FROM events WHERE id = $1"
BY_ID_IN_WORKSPACE = "SELECT * FROM events WHERE id = $1 AND workspace_id = $2"
PAGE = "SELECT * FROM events WHERE workspace_id = $1 AND occurred_at < $2 ORDER BY occurred_at DESC, seq DESC LIMIT 50"
# The keys first, from the index alone: 200 x 50 whole rows would be 11 MB to sort.
COMPANY_PAGE = """
SELECT e.* FROM (
  SELECT k.* FROM unnest($1::uuid[]) AS w (id) CROSS JOIN LATERAL (
    SELECT workspace_id, seq, occurred_at FROM events
    WHERE workspace_id = w.id AND occurred_at < $2 ORDER BY occurred_at DESC, seq DESC LIMIT 50
  ) k ORDER BY k.occurred_at DESC LIMIT 50
) k JOIN events e USING (workspace_id, seq) ORDER BY e.occurred_at DESC, e.id DESC
"""
SEQ_RANGE = "SELECT * FROM events WHERE workspace_id = $1 AND seq >= $2 AND seq < $2 + 1000 ORDER BY seq"
ANNOUNCE = """
SELECT * FROM events WHERE source_partition = $1 AND source_offset >= $2 AND source_offset < $2 + 1000 ORDER BY source_offset, source_index
"""


@dataclass(frozen=True)
class Query:
    """A statement, how to pick its arguments at random, how often, and the index it cannot do without."""

    name: str
    sql: str
    pick: Callable[[], tuple[Any, ...]]
    times: int
    index: str


def queries(rows: Rows) -> tuple[Query, ...]:
    rnd, workspaces = random.Random(11), rows.workspaces

    def moment() -> datetime:
        since = timedelta(days=FIRST_DAY, microseconds=SPAN_MICROS * rnd.uniform(0.05, 1))
        return datetime(2000, 1, 1, tzinfo=UTC) + since

    def seqs() -> tuple[uuid.UUID, int]:
        workspace = rnd.choice(workspaces[:2])
        return workspace, rnd.randrange(1, max(2, rows.heads[workspace] - 1000))

    def offsets() -> tuple[int, int]:
        partition = rnd.randrange(SOURCE_PARTITIONS)
        return partition, rnd.randrange(max(1, rows.offsets[partition] - 1000))

    return (
        Query("by id", BY_ID, lambda: rnd.choice(rows.samples)[:1], 1000, "id"),
        Query("by id in workspace", BY_ID_IN_WORKSPACE, lambda: rnd.choice(rows.samples), 1000, "id"),
        Query("page, small", PAGE, lambda: (rnd.choice(workspaces[1:]), moment()), 1000, "time"),
        Query("page, large", PAGE, lambda: (workspaces[0], moment()), 1000, "time"),
        Query("page, company", COMPANY_PAGE, lambda: (workspaces, moment()), 200, "time"),
        Query("1,000 seqs", SEQ_RANGE, seqs, 200, "key"),
        Query("1,000 offsets", ANNOUNCE, offsets, 200, "source"),
    )


async def read(db: asyncpg.Connection[Any], rows: Rows) -> dict[str, Any]:
    """p50 and p99 in ms, and planning time in ms, of every query the variant has an index for."""
    result: dict[str, Any] = {}
    for query in queries(rows):
        if query.index not in rows.variant.without:
            result[query.name] = await _latency(db, query)
            result[f"plan {query.name}"] = await _planning(db, query)
    return result


async def _latency(db: asyncpg.Connection[Any], query: Query) -> tuple[float, float]:
    """A prepared statement, after a tenth as many runs to warm up."""
    statement, taken = await db.prepare(query.sql), []
    for _ in range(query.times // 10):
        await statement.fetch(*query.pick())
    for _ in range(query.times):
        started = time.perf_counter()
        await statement.fetch(*query.pick())
        taken.append(1e3 * (time.perf_counter() - started))
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


async def _planning(db: asyncpg.Connection[Any], query: Query) -> float:
    """Median of planning anew, as every connection does for at least the first five runs of a statement."""
    await db.execute("SET plan_cache_mode = force_custom_plan")
    try:
        plans = [json.loads(await db.fetchval(f"EXPLAIN (SUMMARY, FORMAT JSON) {query.sql}", *query.pick())) for _ in range(20)]
    finally:
        await db.execute("RESET plan_cache_mode")
    return statistics.median(float(plan[0]["Planning Time"]) for plan in plans)
