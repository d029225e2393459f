"""What the archive sink reads and records in its region's Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import NamedTuple

from ops.archive.data_keys import DataKeys
from ops.db import Connection, Pool, load_queries
from ops.rows import to_stored
from schemas.archive import ArchiveRange, Blocks
from schemas.event import StoredEvent
from schemas.topics import Region
from sinks.archive.handle import MarkedRange, PartContent, Written

PAGE_ROWS = 1000
PAGE_BYTES = 4 << 20
_ACQUIRE_SECONDS = 5.0


class Marked(NamedTuple):
    """A part that is to be archived. Times are microseconds."""

    id: str
    company_id: str
    archive_day: date
    part: int
    row_count: int
    cold_after_days: int | None
    archive_until: int
    is_archived: bool


class ArchiveStore:
    """The parts of a region, and the events that belong into them. Every call is a short transaction of its own."""

    def __init__(self, region: Region, pool: Pool, data_keys: DataKeys) -> None:
        self._region = region
        self._pool = pool
        self._data_keys = data_keys
        self._sql = load_queries("sinks.archive")

    async def ping(self) -> None:
        """Ask the database anything at all."""
        async with self._connection() as connection:
            await connection.fetchval("SELECT 1")

    async def waiting(self, parts: Collection[str]) -> set[str]:
        """Which of these parts are not yet archived."""
        async with self._connection() as connection:
            return {str(row[0]) for row in await connection.fetch(self._sql["waiting"], list(parts))}

    async def part(self, part_id: str) -> Marked | None:
        """The part; ``None`` when there is none."""
        async with self._connection() as connection:
            row = await connection.fetchrow(self._sql["part"], part_id)
        if row is None:
            return None
        return Marked(part_id, str(row[0]), row[1], row[2], row[3], row[4], row[5], is_archived=row[6] is not None)

    async def ranges(self, part_id: str) -> list[MarkedRange]:
        """What is in it, in the order of its lines."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["ranges"], part_id)
        return [MarkedRange(ArchiveRange(str(row[0]), row[1], row[2]), row[3], row[4]) for row in rows]

    async def data_key(self, company_id: str) -> bytes:
        """The company's, made with its first part."""
        async with self._connection() as connection:
            return await self._data_keys.get_or_make(connection, company_id)

    async def page(self, runs: Sequence[ArchiveRange]) -> list[StoredEvent]:
        """The first events of these runs: ``PAGE_ROWS`` at most, and about ``PAGE_BYTES``."""
        workspaces, firsts, lasts = zip(*runs, strict=True)
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["page"], workspaces, firsts, lasts, PAGE_ROWS, PAGE_BYTES)
        return [to_stored(row, self._region) for row in rows]

    async def record(self, part_id: str, key: str, content: PartContent, events: Written, keys: Written, blocks: Blocks, now: int) -> None:
        """The part stands as archived."""
        times = (content.occurred_from, content.occurred_to, content.received_from, content.received_to)
        written = (events.sha256, events.content_sha256, events.size, keys.size, blocks.pack())
        async with self._connection() as connection:
            await connection.execute(self._sql["record"], part_id, now, key, *written, *times)

    async def renumber(self, part_id: str, part: int) -> None:
        """Give the part another number than ``part``."""
        async with self._connection() as connection:
            await connection.execute(self._sql["renumber"], part_id, part)

    async def refuse(self, part_id: str, reason: str) -> None:
        """Note why the part can't be archived."""
        async with self._connection() as connection:
            await connection.execute(self._sql["refuse"], part_id, reason)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            yield connection
