"""Whether the keys of open tails are still good: one statement a region every few seconds, for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ops import log
from ops.addresses import allows
from ops.clock import Clock
from ops.db import is_unavailable
from ops.store import KeyRow
from schemas.topics import Region

_LOG = log.get(__name__)
_OUTLIVE_OUTAGE_SECONDS = 15 * 60.0


class Keys(Protocol):
    """Where keys are looked up: Postgres, or a fake."""

    async def find_all(self, region: Region, hashes: list[bytes]) -> list[KeyRow]:
        """The keys stored under any of ``hashes``, revoked ones too."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a tail open: with which key (its hash under each secret), from where."""

    key_id: str
    address: str
    hashes: tuple[bytes, ...]


class KeyWatch:
    """A region's. While its database is away, keys stay good for 15 minutes, as they do at ingest."""

    def __init__(self, region: Region, keys: Keys, clock: Clock) -> None:
        self._region = region
        self._keys = keys
        self._clock = clock
        self._asked = clock.monotonic()
        self._known: dict[str, KeyRow] = {}

    async def spent(self, holders: Iterable[Holder]) -> set[Holder]:
        """Those of the holders whose key is not good any more, where they are."""
        holders = tuple(holders)
        hashes = {digest for holder in holders for digest in holder.hashes}
        try:
            found = await self._keys.find_all(self._region, list(hashes)) if hashes else []
        except Exception as error:
            if not is_unavailable(error):
                raise
            _LOG.warning("keys of tails can't be checked", region=self._region)
            return set(holders) if self._clock.monotonic() - self._asked > _OUTLIVE_OUTAGE_SECONDS else self._expired(holders)
        self._asked = self._clock.monotonic()
        self._known = {row.id: row for row in found}
        return {holder for holder in holders if not self._is_good(self._known.get(holder.key_id), holder)}

    def _expired(self, holders: Iterable[Holder]) -> set[Holder]:
        """As far as is known without the database."""
        return {holder for holder in holders if (row := self._known.get(holder.key_id)) and not self._is_good(row, holder)}

    def _is_good(self, row: KeyRow | None, holder: Holder) -> bool:
        if row is None or row.revoked or (row.expires_at is not None and row.expires_at <= self._clock.micros()):
            return False
        return allows(row.allowlist, holder.address)
