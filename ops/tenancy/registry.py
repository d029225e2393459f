"""The tenants of one region, in one transaction of the operator's; every change writes its audit entry in the same."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from ops.audit import write_sync
from ops.clock import SystemClock
from ops.db import load_queries
from ops.settings import Settings
from schemas.audit import Entry, Outcome
from schemas.event import format_time, to_micros
from schemas.keys import ENTROPY_BYTES, Scope, hash_key, key_prefix, make_key
from schemas.plans import PlanName, check_overrides
from schemas.topics import Region

_CONNECT_SECONDS = 5

Record = Callable[[Entry, UUID], None]
Entropy = Callable[[Scope], bytes]
Members = Mapping[str, Any]


class Refused(Exception):
    """Nothing was changed: what was named is not there, or not in a state for this."""


class Kind(StrEnum):
    """What has an id."""

    COMPANY = "company"
    WORKSPACE = "workspace"
    KEY = "key"


class Key(NamedTuple):
    """A new key. Its text is stored nowhere."""

    id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a new key is called, from where it may be used (anywhere when empty), and until when."""

    name: str
    allowlist: Sequence[str] = ()
    expires_at: datetime | None = None

    def told(self) -> dict[str, Any]:
        """As an entry of the audit tells them, the API's alike."""
        expires_at = None if self.expires_at is None else format_time(to_micros(self.expires_at))
        return {"expiresAt": expires_at, "ipAllowlist": list(self.allowlist)}


def random_entropy(_scope: Scope) -> bytes:
    """24 bytes for a new key."""
    return secrets.token_bytes(ENTROPY_BYTES)


@dataclass(frozen=True, slots=True)
class Acting:
    """Who makes a change, as its entries name him; and in which role of the database, if not in that of the settings."""

    actor: Mapping[str, Any]
    trace_id: str
    context: bytes | None = None
    role: str | None = None
    statement_seconds: float | None = None
    """Longest wait for a statement, a lock's included; ``None``: the server's."""


def operator() -> Acting:
    """The one at this machine's command line."""
    return Acting({"id": getpass.getuser(), "type": "operator"}, secrets.token_hex(16))


@contextmanager
def open_registry(
    settings: Settings, region: Region, *, entropy: Entropy = random_entropy, acting: Acting | None = None
) -> Iterator[Registry]:
    """A transaction on the region's database, committed when the block ends well; by default the operator's.

    Raises ``Refused`` if that is another region's.
    """
    clock, acting = SystemClock(), acting or operator()
    url = settings.database_url(region)
    with psycopg.connect(url, cursor_factory=psycopg.RawCursor, connect_timeout=_CONNECT_SECONDS) as connection:
        if acting.statement_seconds is not None:
            connection.execute(f"SET LOCAL statement_timeout = {round(acting.statement_seconds * 1000)}".encode())
        if acting.role is not None:
            connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(acting.role)))

        def record(entry: Entry, company: UUID) -> None:
            write_sync(connection, entry, region=region, company_id=str(company), now=clock.micros())

        registry = Registry(connection, region, settings.secrets("api_key_secret")[0], entropy=entropy, record=record, acting=acting)
        registry.check_region()
        yield registry


class Registry:
    """Makes and changes tenants on a connection, and commits nothing."""

    def __init__(
        self,
        connection: psycopg.Connection,
        region: Region,
        secret: bytes,
        *,
        entropy: Entropy,
        record: Record,
        acting: Acting | None = None,
    ) -> None:
        """``secret`` is API_KEY_SECRET; ``record`` writes an audit entry into the connection's transaction."""
        self.region = region
        self._connection = connection
        self._secret = secret
        self._entropy = entropy
        self._record = record
        self._acting = acting or operator()
        self._queries = load_queries("ops.tenancy")

    def check_region(self) -> None:
        """Raise ``Refused`` unless the database is this region's."""
        found, _is_demo = self.one("database") or (None, False)
        if found != self.region:
            raise Refused(f"the database set for {self.region} is that of {found or 'no region'}")

    def has(self, kind: Kind, id: UUID) -> bool:
        """Whether it is one of this region's; holds it until the transaction ends."""
        return self.one(f"lock_{kind}", id) is not None

    def add_company(self, name: str, plan: PlanName, overrides: Members | None = None) -> UUID:
        """A company with nothing but its AUDIT workspace. Raises ``ValueError`` for overrides that no plan has."""
        check_overrides(overrides or {})
        company = self._insert("insert_company", name, plan, _json(overrides or {}))
        self._note("company.create", company, Kind.COMPANY, company, name=name, plan=plan, overrides=overrides or {})
        return company

    def add_workspace(self, company: UUID, name: str) -> UUID:
        """A workspace of the company."""
        self._locked(Kind.COMPANY, company)
        workspace = self._insert("insert_workspace", company, name)
        self._note("workspace.create", company, Kind.WORKSPACE, workspace, name=name)
        return workspace

    def add_project(self, workspace: UUID, name: str) -> UUID:
        """A project of the workspace."""
        company, kind, _archived_at = self._locked(Kind.WORKSPACE, workspace)
        _refuse_audit(kind)
        project = self._insert("insert_project", company, workspace, name)
        self._note("project.create", company, "project", project, name=name, workspaceId=str(workspace))
        return project

    def add_key(self, company: UUID, workspace: UUID | None, terms: KeyTerms) -> Key:
        """A key of the company, or of one of its workspaces."""
        self._locked(Kind.COMPANY, company)
        if workspace is not None:
            self._check_open(company, workspace)
        scope = Scope.COMPANY if workspace is None else Scope.WORKSPACE
        text = make_key(self.region, scope, self._entropy(scope))
        stored = (hash_key(self._secret, text), key_prefix(text), terms.name, list(terms.allowlist), terms.expires_at)
        key = Key(self._insert("insert_key", company, workspace, *stored), text)
        told = {"scope": scope.name, "workspaceId": workspace and str(workspace), **terms.told()}
        self._note("key.create", company, Kind.KEY, key.id, name=terms.name, prefix=key_prefix(text), **told)
        return key

    def set_plan(self, company: UUID, plan: PlanName) -> list[str]:
        """Put the company on a plan; its overrides stay. Returns the ids of the webhooks that this disables."""
        _id, _name, before, _overrides = self._locked(Kind.COMPANY, company)
        self.run("set_plan", company, plan)
        surplus = self._disable_surplus(company)
        self._note("company.plan", company, Kind.COMPANY, company, before=before, after=plan, **_disabled(surplus))
        return surplus

    def override(self, company: UUID, changes: Members, dropped: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
        """Replace members of the company's plan, and let the plan's own hold again for ``dropped``. Returns all overrides, and the ids of
        the webhooks that this disables.

        Raises ``ValueError`` for a member that no plan has, or a value that none could have.
        """
        _id, _name, _plan, before = self._locked(Kind.COMPANY, company)
        check_overrides(changes)
        after = {name: value for name, value in {**before, **changes}.items() if name not in dropped}
        self.run("set_overrides", company, _json(after))
        surplus = self._disable_surplus(company)
        self._note("company.override", company, Kind.COMPANY, company, before=before, after=after, **_disabled(surplus))
        return after, surplus

    def set_archived(self, workspace: UUID, archived: bool) -> None:
        """Archive a workspace (it takes no events, and can still be read), or take it back."""
        company, kind, archived_at = self._locked(Kind.WORKSPACE, workspace)
        _refuse_audit(kind)
        if archived == (archived_at is not None):
            raise Refused(f"workspace {workspace} is {'' if archived else 'not '}archived already")
        self.run("set_archived", workspace, archived)
        self._note("workspace.archive" if archived else "workspace.unarchive", company, Kind.WORKSPACE, workspace)

    def revoke_key(self, key: UUID) -> None:
        """From within ten seconds on, nobody gets in with it."""
        company, _workspace, prefix = self._live_key(key)
        self.run("revoke_key", key)
        self._note("key.revoke", company, Kind.KEY, key, prefix=prefix)

    def set_allowlist(self, key: UUID, allowlist: Sequence[str]) -> None:
        """From where the key may be used: networks in CIDR notation; from anywhere when empty."""
        company, _workspace, prefix = self._live_key(key)
        self.run("set_allowlist", key, list(allowlist))
        self._note("key.allowlist", company, Kind.KEY, key, prefix=prefix, ipAllowlist=list(allowlist))

    def one(self, query: str, *arguments: object) -> TupleRow | None:
        """The first row of a named query."""
        return self.run(query, *arguments).fetchone()

    def run(self, query: str, *arguments: object) -> psycopg.Cursor[TupleRow]:
        """A named query."""
        return self._connection.execute(self._queries[query].encode(), arguments)

    def _disable_surplus(self, company: UUID) -> list[str]:
        """Disable the newest enabled webhooks that the company's plan has no room for any more."""
        self.run("lock_webhooks", company)
        return [str(webhook) for (webhook,) in self.run("disable_surplus", company)]

    def _live_key(self, key: UUID) -> tuple[UUID, UUID | None, str]:
        company, workspace, prefix, revoked_at = self._locked(Kind.KEY, key)
        if revoked_at is not None:
            raise Refused(f"key {key} was revoked at {revoked_at.isoformat()}")
        return company, workspace, prefix

    def _check_open(self, company: UUID, workspace: UUID) -> None:
        """Raise ``Refused`` unless keys can be made for the company's workspace."""
        owner, kind, archived_at = self._locked(Kind.WORKSPACE, workspace)
        _refuse_audit(kind)
        if owner != company:
            raise Refused(f"workspace {workspace} is not of company {company}")
        if archived_at is not None:
            raise Refused(f"workspace {workspace} is archived: it gets no keys")

    def _locked(self, kind: Kind, id: UUID) -> TupleRow:
        row = self.one(f"lock_{kind}", id)
        if row is None:
            raise Refused(f"{self.region} has no {kind} {id}")
        return row

    def _insert(self, query: str, *arguments: object) -> UUID:
        row = self.one(query, *arguments)
        if row is None:
            raise LookupError(f"{query} returned no id")
        found: UUID = row[0]
        return found

    def _note(self, action: str, company: UUID, kind: str, id: UUID, **metadata: Any) -> None:
        target, acting = {"type": str(kind), "id": str(id)}, self._acting
        entry = Entry(action, Outcome.SUCCESS, acting.actor, acting.trace_id, target, metadata or None, acting.context)
        self._record(entry, company)


def _refuse_audit(kind: str) -> None:
    if kind == "AUDIT":
        raise Refused("an AUDIT workspace is read-only: it has no keys and no projects, and can't be archived")


def _disabled(webhooks: list[str]) -> dict[str, Any]:
    return {"disabledWebhooks": webhooks} if webhooks else {}


def _json(members: Members) -> str:
    return orjson.dumps(dict(members)).decode()
