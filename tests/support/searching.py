"""What makes stored events findable: their rows of the search table, and the keys they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from ops.db import load_queries
from schemas.event import StoredEvent
from sinks.search.handle import handle


async def index(connection: asyncpg.Connection[asyncpg.Record], events: Sequence[StoredEvent]) -> None:
    """Put events into the search table as its sink does. The connection reads times as microseconds (``db.use_micros``)."""
    if events:
        await connection.execute(load_queries("sinks.search")["insert_rows"], *zip(*map(handle, events), strict=True))


async def bury(connection: asyncpg.Connection[asyncpg.Record], event: StoredEvent) -> None:
    """Note that the sink could not take the event."""
    await connection.execute(
        "INSERT INTO search_dead (topic, partition, workspace_id, seq, reason) VALUES ('test', 0, $1, $2, 'test')",
        event.workspace_id,
        event.seq,
    )


async def name(connection: asyncpg.Connection[asyncpg.Record], event: StoredEvent, key: str) -> None:
    """Let the key stand for the event, as the chain worker does."""
    await connection.execute(
        "INSERT INTO event_key (workspace_id, key, company_id, seq, event_id, content) VALUES ($1, $2, $3, $4, $5, $6)",
        event.workspace_id, key, event.company_id, event.seq, event.id, bytes(32),
    )  # fmt: skip


async def alias(connection: asyncpg.Connection[asyncpg.Record], event: StoredEvent, other_id: str) -> None:
    """Let another id stand for a repeat of the event."""
    await connection.execute(
        "INSERT INTO event_alias VALUES ($1, $2, $3, $4, $5, 0, $6, 0, $7)",
        other_id, event.company_id, event.workspace_id, event.seq, event.id, event.source_offset, event.received_at,
    )  # fmt: skip
