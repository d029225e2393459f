"""What ingest reads in its region's Postgres: where partitions stand, whose projects are whose, and what became of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops import db
from ops.db import Pool
from ops.rows import to_stored
from schemas.event import StoredEvent
from schemas.topics import Region, ingest_topic

_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a partition of the ingest topic stands; ``next_offset`` is a Kafka offset."""

    next_offset: int
    parked_reason: str | None


class Store:
    """One region's database, in ingest's role."""

    def __init__(self, region: Region, pool: Pool) -> None:
        self._region = region
        self._topic = ingest_topic(region)
        self._pool = pool
        self._sql = db.load_queries("ingest")

    async def standing(self) -> dict[int, Standing]:
        """The partitions that were ever consumed, by number."""
        async with self._pool.acquire(timeout=_TIMEOUT_SECONDS) as connection:
            rows = await connection.fetch(self._sql["source_standing"], self._topic, timeout=_TIMEOUT_SECONDS)
        return {row[0]: Standing(row[2] - row[1], row[3]) for row in rows}

    async def projects(self, company_id: str, workspace_id: str, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are projects of the company's workspace."""
        async with self._pool.acquire(timeout=_TIMEOUT_SECONDS) as connection:
            rows = await connection.fetch(self._sql["projects_of_workspace"], company_id, workspace_id, ids, timeout=_TIMEOUT_SECONDS)
        return {str(row[0]) for row in rows}

    async def outcomes(self, wanted: Mapping[str, str]) -> tuple[list[StoredEvent], set[str]]:
        """Those of the events that are stored, and the ids of those that were rejected; ``wanted`` maps an id to its company's."""
        ids, companies = list(wanted), list(wanted.values())
        async with self._pool.acquire(timeout=_TIMEOUT_SECONDS) as connection:
            stored = await connection.fetch(self._sql["find_stored"], ids, companies, timeout=_TIMEOUT_SECONDS)
            rejected = await connection.fetch(self._sql["find_rejected"], ids, companies, timeout=_TIMEOUT_SECONDS)
        return [to_stored(row, self._region) for row in stored], {str(row[0]) for row in rejected}
