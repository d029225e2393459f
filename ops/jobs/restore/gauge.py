"""How restore requests stand, for the metrics of whoever runs jobs."""

from __future__ import annotations

from ops.db import Pool, load_queries
from ops.metrics import Metrics
from schemas.restore import ACTIVE
from schemas.topics import Region


class RestoreGauge:
    """Of one region."""

    def __init__(self, pool: Pool, metrics: Metrics, region: Region) -> None:
        self._pool = pool
        self._query = load_queries("ops.jobs.restore")["standings"]
        self._requests = {state: metrics.restore_requests.labels(region.value, state.value) for state in ACTIVE}
        self._late = metrics.restores_late.labels(region.value)

    async def tell(self, now: int) -> None:
        """Look and tell. ``now`` is in microseconds. Raises what the database does."""
        rows = await self._pool.fetch(self._query, now)
        found = {row["state"]: row["requests"] for row in rows}
        for state, gauge in self._requests.items():
            gauge.set(found.get(state.value, 0))
        self._late.set(sum(row["late"] for row in rows))
