"""What ingest reads in its region's Postgres: where partitions stand, whose projects are whose, and what became of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ops import db
from ops.db import Pool
from ops.rows import to_stored
from schemas.event import StoredEvent
from schemas.topics import Region, ingest_topic

_TIMEOUT_SECONDS = 2.0
_NAMED = 4


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a partition of the ingest topic stands; ``next_offset`` is a Kafka offset."""

    next_offset: int
    parked_reason: str | None


class Outcomes(NamedTuple):
    """What became of ids: the event that each leads to, its own or the one it repeats, or the reason why there is none."""

    stored: dict[str, StoredEvent]
    rejected: dict[str, str]


class Claim(NamedTuple):
    """A row of ``key_claim``: the id proposed for a key. ``content`` is ``content_hashes``, the time in microseconds."""

    workspace_id: str
    key: str
    company_id: str
    event_id: str
    content: bytes
    received_at: int


class Holder(NamedTuple):
    """Who has a key: a claim, or the event that it stands for."""

    event_id: str
    content: bytes
    received_at: int | None
    """Of a claim, in microseconds; ``None`` when the event is stored."""


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

    async def outcomes(self, wanted: Mapping[str, str]) -> Outcomes:
        """What became of events so far; ``wanted`` maps an id to its company's."""
        ids, companies = list(wanted), list(wanted.values())
        async with self._pool.acquire(timeout=_TIMEOUT_SECONDS) as connection:
            stored = await connection.fetch(self._sql["find_stored"], ids, companies, timeout=_TIMEOUT_SECONDS)
            rejected = await connection.fetch(self._sql["find_rejected"], ids, companies, timeout=_TIMEOUT_SECONDS)
        events = {str(row["asked"]): to_stored(row, self._region) for row in stored}
        return Outcomes(events, {str(row[0]): row[1] for row in rejected})


class ClaimTable:
    """One region's claims of idempotency keys, and the keys that stand for an event."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = db.load_queries("ingest")

    async def claim(self, claims: Sequence[Claim]) -> dict[str, Holder | None]:
        """Claim keys. Who had them before, by the id proposed; ``None`` for one who gave it back just now. Who is not in it has its key."""
        async with self._pool.acquire(timeout=_TIMEOUT_SECONDS) as connection:
            rows = await connection.fetch(self._sql["claim_keys"], *zip(*claims, strict=True), timeout=_TIMEOUT_SECONDS)
            met = {str(row[0]): None if row[1] is None else Holder(str(row[1]), row[2], None) for row in rows}
            if lost := [claim for claim in claims if met.get(claim.event_id, claim) is None]:
                before = await connection.fetch(self._sql["claims_before"], *_names(lost), timeout=_TIMEOUT_SECONDS)
                met |= {str(row[0]): Holder(str(row[1]), row[2], row[3]) for row in before}
        return met

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back that nothing was published under."""
        async with self._pool.acquire(timeout=_TIMEOUT_SECONDS) as connection:
            await connection.execute(self._sql["release_claims"], *_names(claims), timeout=_TIMEOUT_SECONDS)

    async def sweep(self, before: int, limit: int) -> int:
        """Delete claims received before that time (microseconds), no more than ``limit``. Returns how many."""
        async with self._pool.acquire(timeout=_TIMEOUT_SECONDS) as connection:
            swept: int = await connection.fetchval(self._sql["sweep_claims"], before, limit, timeout=_TIMEOUT_SECONDS)
        return swept


def _names(claims: Sequence[Claim]) -> Iterable[tuple[str | bytes | int, ...]]:
    """Their columns up to the proposed ids."""
    return list(zip(*claims, strict=True))[:_NAMED]
