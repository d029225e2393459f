"""How rows get into the search table."""

from __future__ import annotations

from collections.abc import Sequence

from ops.db import Connection, Pool, load_queries
from schemas.topics import Region
from sinks.search.handle import SearchRow
from sinks.store import SinkStore


class SearchStore(SinkStore[SearchRow]):
    """The search table of a region."""

    def __init__(self, region: Region, pool: Pool) -> None:
        super().__init__(region, pool, load_queries("sinks.search"))

    async def insert(self, connection: Connection, rows: Sequence[SearchRow]) -> None:
        """Index events."""
        await connection.execute(self._sql["insert_rows"], *zip(*rows, strict=True))
