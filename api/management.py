"""Management, of keys above all: each action and its audit entry in one transaction, each refusal in one of its own (contract §1, §8)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from api.answers import time
from api.attempt import Attempt
from api.store import Store
from ops import audit
from ops.addresses import Networks, allows
from ops.auth import Principal, WrongAddress
from ops.clock import Clock
from ops.db import Connection, Row, load_queries
from ops.limits import MINUTE_MICROS, Visit
from schemas import ids
from schemas.audit import Entry
from schemas.keys import ENTROPY_BYTES, Scope, hash_key, key_prefix, make_key
from schemas.problems import Conflict, Forbidden, NotFound, Problem, RateLimited, Unauthorized, Unavailable, WorkspaceArchived, invalid

OPERATIONS_A_MINUTE = 10
_WIDEST = {4: 8, 6: 32}
_SECOND_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key is made with, and hands down to its successor. ``expires_at`` is in microseconds; no ``allowlist``: any address."""

    workspace_id: str | None
    name: str
    expires_at: int | None
    allowlist: Networks

    @property
    def scope(self) -> Scope:
        """A workspace's or the company's."""
        return Scope.COMPANY if self.workspace_id is None else Scope.WORKSPACE

    def told(self) -> dict[str, Any]:
        """As an entry of the audit tells them."""
        return {
            "scope": self.scope.name,
            "workspaceId": self.workspace_id,
            "expiresAt": time(self.expires_at),
            "ipAllowlist": [str(each) for each in self.allowlist],
        }


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its text. Times are in microseconds."""

    id: str
    prefix: str
    created_at: int
    terms: Terms
    revoked_at: int | None = None
    rotated_to: str | None = None
    last_used_at: int | None = None

    def status(self, now: int) -> str:
        """REVOKED, EXPIRED, ROTATED (good for the overlap), or ACTIVE."""
        if self.revoked_at is not None:
            return "REVOKED"
        if self.terms.expires_at is not None and self.terms.expires_at <= now:
            return "EXPIRED"
        return "ACTIVE" if self.rotated_to is None else "ROTATED"

    def target(self) -> dict[str, Any]:
        """As an entry of the audit names it."""
        return {"id": self.id, "type": "key", "name": self.terms.name, "prefix": self.prefix}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. Its text is nowhere else, and can't be told again."""

    key: Key
    text: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new key and the old one, which is good until its ``expires_at``."""

    new: NewKey
    old: Key


class Management:
    """What a company's own keys may do to its keys, in the regions' databases."""

    def __init__(self, store: Store, secret: bytes, clock: Clock) -> None:
        """``secret`` is the API_KEY_SECRET that new keys are stored under."""
        self._store = store
        self._secret = secret
        self._clock = clock
        self._sql = load_queries("api", "management.sql")

    async def admit(self, caller: Principal, visit: Visit) -> None:
        """Judge whether the caller's key may manage, and count an operation of its company.

        Raises ``RateLimited``, and ``Forbidden`` before it counts: what no key may do must not use the company's operations up.
        """
        check_manager(caller)
        async with self._store.acting(caller.region, caller.company_id, "count_operation") as connection:
            rows = await connection.fetch(self._sql["count_operation"], caller.company_id)
        ((used, seconds_left),) = rows
        visit.watch_operations(used, OPERATIONS_A_MINUTE, self._clock.micros() // MINUTE_MICROS)
        if used > OPERATIONS_A_MINUTE:
            raise RateLimited(f"A company may make {OPERATIONS_A_MINUTE} management operations a minute.", retry_after=seconds_left)

    async def refuse(self, attempt: Attempt, target: Mapping[str, Any] | None, problem: Problem) -> None:
        """Write down that an attempt was refused. Raises ``Unavailable``: then the refusal must not be told either."""
        await self.note(attempt, attempt.refused(target, problem))

    async def note(self, attempt: Attempt, entry: Entry) -> None:
        """Write down what changed nothing, in a transaction of its own; what is nobody's, in whichever region answers.

        Raises ``Unavailable``: then the answer must not be told either.
        """
        regions = [attempt.region] if attempt.company_id is not None else [attempt.region, *self._store.regions]
        for region in dict.fromkeys(regions):
            try:
                async with self._store.acting(region, attempt.company_id, "note") as connection:
                    await self.write(connection, replace(attempt, region=region), entry)
            except Unavailable as error:
                problem = error
            else:
                return
        raise problem

    async def create(self, attempt: Attempt, caller: Principal, terms: Terms, *, address: str) -> NewKey:
        """A new key, for a caller at ``address``. Raises ``ValidationFailed``, ``NotFound``, ``WorkspaceArchived``, and ``Unauthorized``
        or ``Forbidden`` when the caller's own key is no longer good for this.
        """
        made = self._make(caller, terms)
        if terms.expires_at is not None and terms.expires_at <= made.key.created_at:
            raise invalid("expiresAt", "must lie in the future")
        async with self._store.acting(caller.region, caller.company_id, "create_key") as connection:
            await self.hold(connection, caller, address)
            await self._check_workspace(connection, caller, terms)
            await self._insert(connection, caller, made)
            await self.write(connection, attempt, attempt.done(made.key.target(), terms.told()))
        return made

    async def rotate(self, attempt: Attempt, caller: Principal, key_id: str, overlap_seconds: int, *, address: str) -> Rotation:
        """A successor of one of the company's keys. Raises ``NotFound``, ``Conflict``, ``WorkspaceArchived``, and as ``create`` does."""
        async with self._store.acting(caller.region, caller.company_id, "rotate_key") as connection:
            old = (await self.hold(connection, caller, address, key_id)).get(key_id)
            if old is None:
                raise NotFound
            made = self._make(caller, old.terms)
            now = made.key.created_at
            if (status := old.status(now)) != "ACTIVE":
                raise Conflict(f"Only an active key can be rotated, this one is {status}.")
            await self._check_workspace(connection, caller, old.terms)
            end = now + overlap_seconds * _SECOND_MICROS
            terms = replace(old.terms, expires_at=end if old.terms.expires_at is None else min(end, old.terms.expires_at))
            old = replace(old, rotated_to=made.key.id, terms=terms)
            await self._insert(connection, caller, made)
            await connection.execute(self._sql["retire_key"], key_id, caller.company_id, made.key.id, terms.expires_at)
            told = made.key.terms.told() | {"newKeyId": made.key.id, "newPrefix": made.key.prefix, "oldExpiresAt": time(terms.expires_at)}
            await self.write(connection, attempt, attempt.done(old.target(), told))
        return Rotation(made, old)

    async def revoke(self, attempt: Attempt, caller: Principal, key_id: str, *, address: str) -> Key:
        """Let nobody in with one of the company's keys, from within ten seconds on. Raises ``NotFound``, ``Conflict``."""
        async with self._store.acting(caller.region, caller.company_id, "revoke_key") as connection:
            key = await self._hold_live(connection, caller, address, key_id)
            revoked = replace(key, revoked_at=self._clock.micros())
            await connection.execute(self._sql["revoke_key"], key_id, caller.company_id, revoked.revoked_at)
            await self.write(connection, attempt, attempt.done(key.target(), {"scope": key.terms.scope.name}))
        return revoked

    async def set_allowlist(self, attempt: Attempt, caller: Principal, key_id: str, allowlist: Networks, *, address: str) -> Key:
        """From where one of the company's keys may be used; from anywhere when empty. Raises ``NotFound``, ``Conflict``."""
        async with self._store.acting(caller.region, caller.company_id, "set_allowlist") as connection:
            key = await self._hold_live(connection, caller, address, key_id)
            changed = replace(key, terms=replace(key.terms, allowlist=allowlist))
            await connection.execute(self._sql["set_allowlist"], key_id, caller.company_id, allowlist)
            told = {"before": key.terms.told()["ipAllowlist"], "ipAllowlist": changed.terms.told()["ipAllowlist"]}
            await self.write(connection, attempt, attempt.done(key.target(), told))
        return changed

    async def page(self, caller: Principal, workspace_id: str | None, after: str, limit: int) -> list[Key]:
        """Up to ``limit`` of the company's keys with an id above ``after``, or of one workspace's; revoked ones too."""
        async with self._store.reading_for(caller, "keys") as connection:
            rows = await connection.fetch(self._sql["keys_of_company"], caller.company_id, workspace_id, after, limit)
        return [_to_key(row) for row in rows]

    async def key_of(self, caller: Principal) -> Key | None:
        """The calling key, as it stands now."""
        async with self._store.reading_for(caller, "key_of_caller") as connection:
            row = await connection.fetchrow(self._sql["key_of_caller"], caller.key_id, caller.company_id)
        return None if row is None else _to_key(row)

    def now(self) -> int:
        """The time by which keys are judged, in microseconds."""
        return self._clock.micros()

    def _make(self, caller: Principal, terms: Terms) -> NewKey:
        now = self._clock.micros()
        text = make_key(caller.region, terms.scope, os.urandom(ENTROPY_BYTES))
        return NewKey(Key(ids.uuid7(now, os.urandom(ids.RANDOM_BYTES)), key_prefix(text), now, terms), text)

    async def hold(self, connection: Connection, caller: Principal, address: str, *others: str) -> dict[str, Key]:
        """The caller's key and other ones of its company by their ids, held until the transaction ends.

        The caller was let in on what was known of its key up to ten seconds ago: a key that is revoked must leave no other behind,
        nor anything else. Raises ``Unauthorized`` or ``Forbidden`` when it is no longer good for this.
        """
        own_id = () if caller.user is not None else (caller.key_id,)
        rows = await connection.fetch(self._sql["held_keys"], [*own_id, *others], caller.company_id)
        keys = {key.id: key for key in map(_to_key, rows)}
        if caller.user is not None:  # vouched for by a service, which has no key that could be revoked meanwhile
            return keys
        own = keys.get(caller.key_id)
        if own is None or own.status(self._clock.micros()) in ("REVOKED", "EXPIRED"):
            raise Unauthorized
        if not allows(own.terms.allowlist, address):
            raise WrongAddress(caller)
        check_allowlist(own.terms.allowlist)
        return keys

    async def _hold_live(self, connection: Connection, caller: Principal, address: str, key_id: str) -> Key:
        key = (await self.hold(connection, caller, address, key_id)).get(key_id)
        if key is None:
            raise NotFound
        if key.revoked_at is not None:
            raise Conflict(f"The key was revoked at {time(key.revoked_at)}.")
        return key

    async def _check_workspace(self, connection: Connection, caller: Principal, terms: Terms) -> None:
        if terms.workspace_id is None:
            return
        row = await connection.fetchrow(self._sql["workspace_of_company"], terms.workspace_id, caller.company_id)
        if row is None:
            raise NotFound
        if row["kind"] == "AUDIT":
            raise Forbidden("An AUDIT workspace is read-only: it has no keys of its own.")
        if row["archived"]:
            raise WorkspaceArchived("The workspace is archived: it gets no keys.")

    async def _insert(self, connection: Connection, caller: Principal, made: NewKey) -> None:
        key, terms = made.key, made.key.terms
        secret = (hash_key(self._secret, made.text), key.prefix)
        stored = (terms.name, terms.expires_at, terms.allowlist, key.created_at)
        await connection.execute(self._sql["insert_key"], key.id, caller.company_id, terms.workspace_id, *secret, *stored)

    async def write(self, connection: Connection, attempt: Attempt, entry: Entry) -> None:
        """Add the entry of an attempt to the connection's transaction. Raises as ``ops.audit.write`` does."""
        await audit.write(connection, entry, region=attempt.region, company_id=attempt.company_id, now=self._clock.micros())


def check_manager(caller: Principal) -> None:
    """Raise ``Forbidden`` unless the key is a company's and bound to some addresses."""
    if caller.scope is not Scope.COMPANY:
        raise Forbidden("Management needs a company key.")
    check_allowlist(caller.allowlist)


def check_allowlist(allowlist: Networks) -> None:
    """Raise ``Forbidden`` unless the key is bound to some addresses: a stolen one that works from anywhere must not make others."""
    if not allowlist:
        raise Forbidden("Management needs a key with an IP allowlist.")
    if any(each.prefixlen < _WIDEST[each.version] for each in allowlist):
        raise Forbidden(f"Management needs a key whose IP allowlist is no wider than /{_WIDEST[4]} in IPv4 and /{_WIDEST[6]} in IPv6.")


def _to_key(row: Row) -> Key:
    workspace_id, rotated_to = row["workspace_id"], row["rotated_to"]
    return Key(
        id=str(row["id"]),
        prefix=row["prefix"],
        created_at=row["created_at"],
        terms=Terms(workspace_id and str(workspace_id), row["name"], row["expires_at"], tuple(row["ip_allowlist"])),
        revoked_at=row["revoked_at"],
        rotated_to=rotated_to and str(rotated_to),
        last_used_at=row["last_used_at"],
    )
