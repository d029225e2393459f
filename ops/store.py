"""What every process reads from Postgres: API keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.db import Pool, load_queries
from schemas.topics import Region

_CONNECT_SECONDS = 2.0
_QUERY_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as stored. ``workspace_id`` is ``None`` for a company key; ``expires_at`` is in microseconds."""

    id: str
    company_id: str
    workspace_id: str | None
    expires_at: int | None


class PostgresKeys:
    """The keys of each region's database."""

    def __init__(self, pools: Mapping[Region, Pool]) -> None:
        self._pools = pools
        self._find = load_queries("ops")["find_key"]

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions whose keys can be looked up here."""
        return tuple(self._pools)

    async def find(self, region: Region, hashes: list[bytes]) -> KeyRow | None:
        """The live key stored under one of ``hashes``. Raises what ``db.is_unavailable`` knows, within some seconds."""
        # With a time limit of its own, giving back a connection that hangs ends too.
        async with self._pools[region].acquire(timeout=_CONNECT_SECONDS) as connection:
            row = await connection.fetchrow(self._find, hashes, timeout=_QUERY_SECONDS)
        if row is None:
            return None
        workspace = row["workspace_id"]
        return KeyRow(str(row["id"]), str(row["company_id"]), str(workspace) if workspace else None, row["expires_at"])
