"""What every process asks Postgres: whose keys are whose, when they were used, and which other processes serve."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from ops.addresses import Networks, plain
from ops.db import Pool, Row, load_queries
from schemas.plans import PlanLimits
from schemas.topics import Region

_CONNECT_SECONDS = 2.0
_QUERY_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key, and what its company's plan allows. ``workspace_id`` is ``None`` for a company key.

    ``expires_at`` is in microseconds; an empty ``allowlist`` admits any address; ``archived`` tells of the workspace.
    """

    id: str
    company_id: str
    workspace_id: str | None
    expires_at: int | None
    limits: PlanLimits
    allowlist: Networks = ()
    archived: bool = False
    revoked: bool = False


class PostgresKeys:
    """The keys of each region's database. Its methods raise what ``db.is_unavailable`` knows, within some seconds."""

    def __init__(self, pools: Mapping[Region, Pool]) -> None:
        self._pools = pools
        queries = load_queries("ops")
        self._find = queries["find_key"]
        self._note_use = queries["note_key_use"]

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions whose keys can be looked up here."""
        return tuple(self._pools)

    async def find(self, region: Region, hashes: list[bytes]) -> KeyRow | None:
        """The key stored under one of ``hashes``."""
        # With a time limit of its own, giving back a connection that hangs ends too.
        async with self._pools[region].acquire(timeout=_CONNECT_SECONDS) as connection:
            row = await connection.fetchrow(self._find, hashes, timeout=_QUERY_SECONDS)
        return None if row is None else _key_row(row)

    async def find_all(self, region: Region, hashes: list[bytes]) -> list[KeyRow]:
        """The keys stored under any of ``hashes``."""
        async with self._pools[region].acquire(timeout=_CONNECT_SECONDS) as connection:
            rows = await connection.fetch(self._find, hashes, timeout=_QUERY_SECONDS)
        return [_key_row(row) for row in rows]

    async def note_use(self, region: Region, used: Mapping[str, int]) -> None:
        """Write when keys were last used: microseconds by key id."""
        async with self._pools[region].acquire(timeout=_CONNECT_SECONDS) as connection:
            await connection.execute(self._note_use, list(used), list(used.values()), timeout=_QUERY_SECONDS)


class PostgresProcesses:
    """The processes that serve requests, as each region's database sees their connections."""

    def __init__(self, pools: Mapping[Region, Pool]) -> None:
        self._pools = pools
        self._count = load_queries("ops")["count_processes"]

    async def count(self) -> int:
        """How many serve the region that most of them serve. Raises what ``db.is_unavailable`` knows if none can be asked."""
        answers = await asyncio.gather(*map(self._count_in, self._pools.values()), return_exceptions=True)
        counts = [answer for answer in answers if isinstance(answer, int)]
        if not counts:
            raise ConnectionError("no region's database can be asked")
        return max(counts)

    async def _count_in(self, pool: Pool) -> int:
        async with pool.acquire(timeout=_CONNECT_SECONDS) as connection:
            count: int = await connection.fetchval(self._count, timeout=_QUERY_SECONDS)
        return count


def _key_row(row: Row) -> KeyRow:
    workspace = row["workspace_id"]
    return KeyRow(
        id=str(row["id"]),
        company_id=str(row["company_id"]),
        workspace_id=str(workspace) if workspace else None,
        expires_at=row["expires_at"],
        limits=PlanLimits.parse(orjson.loads(row["limits"])),
        allowlist=tuple(map(plain, row["ip_allowlist"])),
        archived=row["archived"],
        revoked=row["revoked"],
    )
