"""What each index of the events table costs the chain worker: drained with all of them, and with each left out in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from tests.bench.bench import Bench
from tests.bench.drain import Drain, drain
from tests.bench.pipeline import REGION

_PER_ENVELOPE = 100
_NAMES = """
SELECT i.indexname, i.indexdef FROM pg_indexes i
WHERE i.schemaname = 'public' AND i.tablename = 'events' AND i.indexname <> 'events_pkey' ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Costs:
    """Drains of one backlog: before and after with all indexes, and without each of them."""

    whole: tuple[Drain, Drain]
    without: dict[str, Drain]

    @property
    def usual(self) -> float:
        """Events a second with all indexes, the mean of before and after: the machine drifts meanwhile."""
        return sum(each.announced for each in self.whole) / 2


async def costs(bench: Bench, events: int) -> Costs:
    """Drain ``events`` once for each index and twice for all. The worker is stopped while an index comes or goes."""
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        indexes = {row["indexname"]: row["indexdef"] for row in await connection.fetch(_NAMES)}
        before = await drain(bench, _PER_ENVELOPE, events)
        without = {}
        for name, definition in indexes.items():
            async with _left_out(connection, name, definition):
                without[name] = await drain(bench, _PER_ENVELOPE, events)
        return Costs((before, await drain(bench, _PER_ENVELOPE, events)), without)
    finally:
        await connection.close()


@asynccontextmanager
async def _left_out(connection: asyncpg.Connection[asyncpg.Record], name: str, definition: str) -> AsyncIterator[None]:
    await connection.execute(f"DROP INDEX {name}")
    try:
        yield
    finally:
        await connection.execute(definition)
