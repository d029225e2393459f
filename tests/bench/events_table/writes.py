"""The write path: a transaction of the chain worker, its rate, and the purge beside it."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from tests.bench.events_table.layout import columns
from tests.bench.events_table.rows import CHUNK, Rows

Connection: TypeAlias = "asyncpg.Connection[Any]"  # generic in its stubs only

PURGED_ROWS = 1_000_000
UPSERT_HEADS = """
INSERT INTO chain_head SELECT w, s, sha256('x'), now() FROM unnest($1::uuid[], $2::bigint[]) AS n (w, s)
ON CONFLICT (workspace_id) DO UPDATE SET seq = excluded.seq, updated_at = excluded.updated_at
"""


@dataclass(frozen=True)
class Rate:
    """Writing of one stretch of rows. The making of the rows counts in ``client_share`` alone."""

    rows_per_second: float
    server_micros: float  # CPU of the backend, a row
    client_share: float
    worst_commit_ms: float


async def write_chunk(db: Connection, rows: Rows) -> float:
    """One transaction as the chain worker's. Returns its seconds."""
    data, partition, workspaces = rows.next_chunk()
    names = [column.split()[0] for column in columns(rows.variant)]
    heads = [rows.heads[workspace] for workspace in workspaces]
    started = time.perf_counter()
    async with db.transaction():
        await db.fetchval("SELECT next_offset FROM source WHERE partition = $1 FOR UPDATE", partition)
        await db.execute("SELECT FROM chain_head WHERE workspace_id = ANY($1) ORDER BY workspace_id FOR UPDATE", workspaces)
        await db.copy_to_table("events", source=_once(data), columns=names, format="binary")
        await db.execute(UPSERT_HEADS, workspaces, heads)
        await db.execute("UPDATE source SET next_offset = $2, announced = $2 WHERE partition = $1", partition, rows.offsets[partition])
    return time.perf_counter() - started


async def write(db: Connection, rows: Rows, chunks: int, done: asyncio.Event | None = None) -> Rate:
    """Writes ``chunks`` transactions, or as many as fit until ``done`` is set."""
    pid, times, started = db.get_server_pid(), list[float](), time.perf_counter()
    cpu = _backend_seconds(pid)
    while not done.is_set() if done else len(times) < chunks:
        times.append(await write_chunk(db, rows))
    count, took = len(times) * CHUNK, time.perf_counter() - started
    return Rate(count / sum(times), 1e6 * (_backend_seconds(pid) - cpu) / count, 1 - sum(times) / took, 1e3 * max(times))


async def purge(db: Connection, other: Connection, rows: Rows) -> dict[str, float]:
    """Deletes each workspace's oldest rows, 1,000,000 or a tenth in all, while the writer goes on; VACUUM; writes again."""
    done, fraction = asyncio.Event(), min(0.1, PURGED_ROWS / rows.total)
    writer = asyncio.create_task(write(db, rows, 0, done))
    rate = await _delete_oldest(other, dict(rows.heads), fraction)
    done.set()
    during = await writer
    started = time.perf_counter()
    await other.execute("VACUUM events")
    vacuum = time.perf_counter() - started
    after = await write(db, rows, int(rows.total * fraction) // CHUNK)
    return {
        "purge rows/s": rate,
        "rows/s during purge": during.rows_per_second,
        "VACUUM s": vacuum,
        "rows/s into purged space": after.rows_per_second,
    }


async def client_micros(db: Connection, rows: Rows) -> float:
    """CPU of asyncpg to encode one row from Python values (copy_records_to_table), in µs: what a column costs the worker."""
    names = [column.split()[0] for column in columns(rows.variant)]
    records = [tuple(record) for record in await db.fetch(f"SELECT {', '.join(names)} FROM events LIMIT {CHUNK}")]
    await db.execute("CREATE UNLOGGED TABLE copied (LIKE events)")
    started = time.process_time()
    for _ in range(10):
        await db.copy_records_to_table("copied", records=records, columns=names)
    return 1e6 * (time.process_time() - started) / (10 * len(records))


async def _delete_oldest(db: Connection, heads: dict[uuid.UUID, int], fraction: float, step: int = 10_000) -> float:
    """(workspace, seq) ranges, a transaction each. Returns rows per second."""
    deleted, started = 0, time.perf_counter()
    for workspace, head in heads.items():
        last = int(head * fraction)
        for low in range(1, last + 1, step):
            high = min(low + step - 1, last)
            tag = await db.execute("DELETE FROM events WHERE workspace_id = $1 AND seq BETWEEN $2 AND $3", workspace, low, high)
            deleted += int(tag.split()[1])
    return deleted / (time.perf_counter() - started)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _backend_seconds(pid: int) -> float:
    """CPU the server has spent on one connection."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
