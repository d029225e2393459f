"""Who is calling: API keys, their cache, and what holds while a region's database is away (contract §1).

The hot path is ``cached``: one hash and one or two look-ups in dictionaries, no waiting. All else goes through
``authenticate``. A hit is good for ten seconds and refreshed in the background before they are over,
so that a revocation takes effect in seconds and nobody waits for the database on its account.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import NoReturn, Protocol, TypeVar

from ops.addresses import Networks, allows
from ops.clock import Clock
from ops.db import is_unavailable
from ops.metrics import Metrics
from ops.store import KeyRow
from schemas.keys import Scope, hash_key, parse_key
from schemas.plans import PlanLimits
from schemas.problems import Forbidden, Unauthorized, Unavailable
from schemas.topics import Region

_BEARER = b"bearer "
_SCHEME = len(_BEARER)
_SALT_BYTES = 16
_MAX_ADMITTED = 1000
_T = TypeVar("_T")


class UserRole(StrEnum):
    """What a user of the dashboard may do (contract §2): read; manage and export too; or the operator's own work."""

    MEMBER = "MEMBER"
    ADMIN = "ADMIN"
    HYRELOG_ADMIN = "HYRELOG_ADMIN"


@dataclass(frozen=True, slots=True)
class User:
    """A user of the dashboard, whom it vouches for. ``role`` may be none of ``UserRole``."""

    id: str
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a valid key. ``workspace_id`` is ``None`` for a company key; ``expires_at`` is in microseconds.

    An empty ``allowlist`` admits any address; ``limits`` are the plan's with the company's overrides; ``archived`` tells of the workspace.
    A user of the dashboard acts as the holder of a company key that does not exist: ``key_id`` names the user then.
    """

    key_id: str
    region: Region
    scope: Scope
    company_id: str
    workspace_id: str | None
    expires_at: int | None
    limits: PlanLimits
    allowlist: Networks = ()
    archived: bool = False
    user: User | None = None


class WrongAddress(Forbidden):
    """This key may not be used from this address."""

    def __init__(self, holder: Principal) -> None:
        """``holder`` is whose key it is: for the audit, never for the caller."""
        super().__init__()
        self.holder = holder


class LapsedKey(Unauthorized):
    """This key is revoked or has expired: to its caller, as any unknown one."""

    def __init__(self, holder: Principal) -> None:
        """``holder`` is whose key it was: for the audit, never for the caller."""
        super().__init__(Unauthorized().sentence)
        self.holder = holder


@dataclass(frozen=True, slots=True)
class _Miss:
    """A key that is good for nothing until it is asked for again; ``holder`` is whose it was."""

    until: float
    holder: Principal | None

    def refuse(self) -> NoReturn:
        """Raises ``Unauthorized``; ``LapsedKey`` when it was somebody's."""
        if self.holder is None:
            raise Unauthorized
        raise LapsedKey(self.holder)


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long a judgement holds, in seconds, and how much is kept."""

    fresh: float = 10.0
    refresh_after: float = 7.0
    outlive_outage: float = 0.0
    """How long a known key stays good while its database is away: 15 minutes for ingest, else not at all."""
    wait: float = 1.0
    """Longest wait of a request for a look-up, which goes on behind it."""
    retry_after: float = 1.0
    grace: float = 10.0
    """How long a known key passes at a time in an outage: longer than a retry takes to fail, so that nobody waits."""
    max_hits: int = 50_000
    max_misses: int = 10_000
    max_lookups: int = 500
    max_strange_lookups: int = 400
    """With this many look-ups under way only keys known before are looked up: strangers can't keep those from being refreshed."""


INGEST_POLICY = CachePolicy(outlive_outage=15 * 60.0)


class Keys(Protocol):
    """Where keys are looked up: Postgres, or a fake."""

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions whose keys can be looked up here."""
        ...

    async def find(self, region: Region, hashes: list[bytes]) -> KeyRow | None:
        """The key stored under one of ``hashes``, revoked ones too, or ``None``."""
        ...


@dataclass(frozen=True, slots=True)
class _Credential:
    """What a look-up needs to know of a key: where it may be stored, and under which hashes."""

    regions: tuple[Region, ...]
    scope: Scope
    hashes: list[bytes]


@dataclass(slots=True)
class _Hit:
    """A known key. Times are on the monotonic clock; ``fresh_until`` and ``known_until`` never pass the key's expiry."""

    principal: Principal
    credential: _Credential
    refresh_at: float
    fresh_until: float
    known_until: float
    used_at: float = float("-inf")
    admitted: set[str] = field(default_factory=set)
    """Addresses that its allowlist lets in: matching one takes 1 µs an entry."""


class Authenticator:
    """Judges ``Authorization: Bearer <key>`` headers. One a process; ``close`` it before its database pools."""

    def __init__(self, keys: Keys, secrets: tuple[bytes, ...], *, clock: Clock, metrics: Metrics, policy: CachePolicy) -> None:
        """``secrets`` are API_KEY_SECRET and, if set, its predecessor."""
        self._keys = keys
        self._secrets = secrets
        self._clock = clock
        self._monotonic = clock.monotonic
        self._policy = policy
        # The caches are keyed by digests under a salt of this process, so no key outlives its request in memory and
        # the time of a look-up says nothing about the keys in it. Costs 0.4 µs.
        self._salt = os.urandom(_SALT_BYTES)
        self._hits: dict[bytes, _Hit] = {}
        self._misses: dict[bytes, _Miss] = {}
        self._lookups: dict[bytes, asyncio.Task[_Hit | _Miss]] = {}
        outcomes = ("hit", "known_bad", "looked_up", "stale", "unavailable")
        self._count = {outcome: metrics.key_lookups.labels(outcome) for outcome in outcomes}
        self._count_hit = self._count["hit"].inc

    def cached(self, header: bytes | None, address: str) -> Principal | None:
        """The holder of a key that was judged within ten seconds and is good at ``address``; else ``None``: ask ``authenticate``."""
        if header is None or header[:_SCHEME].lower() != _BEARER:
            return None
        digest = sha256(self._salt + header[_SCHEME:]).digest()
        hit = self._hits.get(digest)
        now = self._monotonic()
        if hit is None or now >= hit.fresh_until:
            return None
        principal = hit.principal
        if principal.allowlist and address not in hit.admitted and not _admit(hit, address):
            return None
        if now >= hit.refresh_at:
            self._refresh(digest, hit)
        hit.used_at = now
        self._count_hit()
        return principal

    async def authenticate(self, header: bytes | None, address: str) -> Principal:
        """The holder of the key in an ``Authorization`` header (``None``: there is none).

        Raises ``Unauthorized`` for what is no key, unknown, revoked or expired (these two: ``LapsedKey``); ``WrongAddress`` when
        the key is not good at ``address``; ``Unavailable`` when the database that would know can't be asked within a second.
        """
        key = _sent_key(header)
        if key is None:
            raise Unauthorized
        digest = self._digest(key)
        hit = self._hits.get(digest)
        if hit is None or self._monotonic() >= hit.fresh_until:
            hit = await self._judge_now(digest, key)
        if not _admit(hit, address):
            raise WrongAddress(hit.principal)
        hit.used_at = self._monotonic()
        return hit.principal

    def met_before(self, header: bytes | None) -> bool:
        """Whether the key was good when it was last looked up, however long ago."""
        key = _sent_key(header)
        return key is not None and self._digest(key) in self._hits

    def used_since(self, region: Region, moment: float) -> dict[str, int]:
        """When the region's keys were last used, in microseconds by key id, of those used at ``moment`` (monotonic) or later."""
        epoch = self._clock.micros() - round(self._monotonic() * 1e6)
        hits = [hit for hit in self._hits.values() if hit.used_at >= moment and hit.principal.region is region]
        hits.sort(key=lambda hit: hit.used_at)
        return {hit.principal.key_id: epoch + round(hit.used_at * 1e6) for hit in hits}

    async def close(self) -> None:
        """Stop all look-ups."""
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _digest(self, key: bytes) -> bytes:
        return sha256(self._salt + key).digest()

    async def _judge_now(self, digest: bytes, key: bytes) -> _Hit:
        credential = self._credential(key)
        miss = self._misses.get(digest)
        if miss is not None and self._monotonic() < miss.until:
            self._count["known_bad"].inc()
            miss.refuse()
        return await self._ask(digest, credential)

    def _credential(self, key: bytes) -> _Credential:
        try:
            text = key.decode("ascii")
            name = parse_key(text)
        except ValueError:
            raise Unauthorized from None
        regions = tuple(region for region in self._keys.regions if name.region in (None, region))
        if not regions:
            raise Unauthorized(f"Keys of region {name.region} are not served here.")
        return _Credential(regions, name.scope, [hash_key(secret, text) for secret in self._secrets])

    async def _ask(self, digest: bytes, credential: _Credential) -> _Hit:
        try:
            lookup = self._lookup(digest, credential)
            # Shielded: the answer serves all who wait for it, and the next ones.
            found = await asyncio.wait_for(asyncio.shield(lookup), self._policy.wait)
        except Exception as error:
            if not is_unavailable(error):
                raise
            return self._known_before(digest)
        self._count["looked_up"].inc()
        if isinstance(found, _Miss):
            found.refuse()
        return found

    def _known_before(self, digest: bytes) -> _Hit:
        """The holder of a key that was good when the database last could be asked. Raises ``Unavailable`` for all others."""
        hit = self._hits.get(digest)
        if hit is None or not self._extend(hit):
            self._count["unavailable"].inc()
            raise Unavailable("API keys can't be checked now: try again.")
        return hit

    def _extend(self, hit: _Hit) -> bool:
        """Let a known key pass for some seconds more without waiting for the database. ``False``: it was known too long ago."""
        now = self._monotonic()
        if now >= hit.known_until:
            return False
        hit.refresh_at = now + self._policy.retry_after
        hit.fresh_until = max(hit.fresh_until, min(now + self._policy.grace, hit.known_until))
        self._count["stale"].inc()
        return True

    def _refresh(self, digest: bytes, hit: _Hit) -> None:
        hit.refresh_at = self._monotonic() + self._policy.retry_after
        if len(self._lookups) < self._policy.max_lookups:
            self._lookup(digest, hit.credential)

    def _lookup(self, digest: bytes, credential: _Credential) -> asyncio.Task[_Hit | _Miss]:
        """The one look-up of this key that is under way. Raises ``TimeoutError`` when there are too many of others."""
        task = self._lookups.get(digest)
        if task is None:
            most = self._policy.max_lookups if digest in self._hits else self._policy.max_strange_lookups
            if len(self._lookups) >= most:
                raise TimeoutError("too many keys are being looked up")
            task = asyncio.get_running_loop().create_task(self._judge(digest, credential))
            self._lookups[digest] = task
            task.add_done_callback(lambda done: self._finish(digest, done))
        return task

    def _finish(self, digest: bytes, task: asyncio.Task[_Hit | _Miss]) -> None:
        del self._lookups[digest]
        error = None if task.cancelled() else task.exception()
        hit = self._hits.get(digest)
        if error is not None and hit is not None and is_unavailable(error):
            self._extend(hit)

    async def _judge(self, digest: bytes, credential: _Credential) -> _Hit | _Miss:
        # An answer is as old as its question: what was slow to come may no longer hold.
        asked = self._monotonic()
        principal, revoked = await self._find(credential)
        now = self._monotonic()
        left = float("inf")
        if principal is not None and principal.expires_at is not None:
            left = (principal.expires_at - self._clock.micros()) / 1e6
        before = self._hits.pop(digest, None)
        if principal is None or revoked or left <= 0:
            miss = _Miss(asked + self._policy.fresh, principal)
            _put(self._misses, digest, miss, self._policy.max_misses)
            return miss
        policy = self._policy
        hit = _Hit(
            principal,
            replace(credential, regions=(principal.region,)),
            refresh_at=asked + policy.refresh_after,
            fresh_until=min(asked + policy.fresh, now + left),
            known_until=min(asked + policy.outlive_outage, now + left),
            used_at=before.used_at if before else float("-inf"),
        )
        _put(self._hits, digest, hit, policy.max_hits)
        return hit

    async def _find(self, credential: _Credential) -> tuple[Principal | None, bool]:
        """Its holder, and whether it is revoked.

        Asks all regions it may be in at once. Raises if one that could have known did not answer and no other knew.
        """
        answers = await asyncio.gather(*(self._find_in(region, credential) for region in credential.regions), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, tuple):
                return answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return None, False

    async def _find_in(self, region: Region, credential: _Credential) -> tuple[Principal, bool] | None:
        row = await self._keys.find(region, credential.hashes)
        if row is None or (row.workspace_id is None) != (credential.scope is Scope.COMPANY):
            return None
        holder = Principal(
            row.id, region, credential.scope, row.company_id, row.workspace_id, row.expires_at, row.limits, row.allowlist, row.archived
        )
        return holder, row.revoked


def _sent_key(header: bytes | None) -> bytes | None:
    """What follows the scheme and its one space, as it stands: so a key has one spelling, and one place in the caches."""
    return header[_SCHEME:] if header is not None and header[:_SCHEME].lower() == _BEARER else None


def _admit(hit: _Hit, address: str) -> bool:
    """Whether the key is good at the address; remembers those where it is."""
    if not allows(hit.principal.allowlist, address):
        return False
    if hit.principal.allowlist and len(hit.admitted) < _MAX_ADMITTED:
        hit.admitted.add(address)
    return True


def _put(cache: dict[bytes, _T], key: bytes, value: _T, limit: int) -> None:
    """Store at the young end; over the limit, drop the oldest. A hit in use is young again at each refresh."""
    cache.pop(key, None)
    cache[key] = value
    if len(cache) > limit:
        del cache[next(iter(cache))]
