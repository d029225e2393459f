"""The tenants of one region, in one transaction of the operator's; every change writes its audit entry in the same."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from ops import audit
from ops.clock import SystemClock
from ops.db import WrongRegion, load_queries
from ops.settings import Settings
from ops.tenancy.terms import Entropy, Key, KeyTerms, Kind, random_entropy, time_of
from schemas.audit import Entry, Outcome
from schemas.keys import Scope, hash_key, key_prefix, make_key
from schemas.names import check_name
from schemas.plans import PlanName, check_overrides
from schemas.topics import Region

_CONNECT_SECONDS = 5

Record = Callable[[Entry, UUID], None]
Members = Mapping[str, Any]


class Denied(NamedTuple):
    """What the audit of a company is to be told of a refusal."""

    company: UUID
    entry: Entry


class Refused(Exception):
    """Nothing was changed: what was named is not there, or not in a state for this.

    ``denied`` is what the company's audit is to be told, where there is such a company: the transaction that would have, is no more.
    """

    def __init__(self, reason: str, denied: Denied | None = None) -> None:
        super().__init__(reason)
        self.denied = denied


class OtherRegion(Refused, WrongRegion):
    """The database is not the region's."""


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
    return Acting(audit.operator(), secrets.token_hex(16))


@contextmanager
def open_registry(
    settings: Settings, region: Region, *, entropy: Entropy = random_entropy, acting: Acting | None = None
) -> Iterator[Registry]:
    """A transaction on the region's database, committed when the block ends well; by default the operator's.

    Raises ``OtherRegion`` if that is another region's.
    """
    clock, acting = SystemClock(), acting or operator()
    url = settings.database_url(region)
    with psycopg.connect(url, cursor_factory=psycopg.RawCursor, connect_timeout=_CONNECT_SECONDS) as connection:
        if acting.statement_seconds is not None:
            connection.execute(f"SET LOCAL statement_timeout = {round(acting.statement_seconds * 1000)}".encode())
        if acting.role is not None:
            connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(acting.role)))

        def record(entry: Entry, company: UUID) -> None:
            audit.write_sync(connection, entry, region=region, company_id=str(company), now=clock.micros())

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
        """Raise ``OtherRegion`` unless the database is this region's."""
        found, _is_demo = self.one("database") or (None, False)
        if found != self.region:
            raise OtherRegion(f"the database set for {self.region} is that of {found or 'no region'}")

    def has(self, kind: Kind, id: UUID) -> bool:
        """Whether it is one of this region's; holds it until the transaction ends."""
        return self.one(f"lock_{kind}", id) is not None

    def add_company(self, name: str, plan: PlanName, overrides: Members | None = None) -> UUID:
        """A company with nothing but its AUDIT workspace. Raises ``ValueError`` for overrides that no plan has, and what is no name."""
        check_overrides(overrides or {})
        company = self._insert("insert_company", check_name(name), plan, _json(overrides or {}))
        self._note("company.create", company, Kind.COMPANY, company, name=name, plan=plan, overrides=overrides or {})
        return company

    def add_workspace(self, company: UUID, name: str) -> UUID:
        """A workspace of the company. Raises ``ValueError`` for what is no name."""
        self._locked(Kind.COMPANY, company)
        workspace = self._insert("insert_workspace", company, check_name(name))
        self._note("workspace.create", company, Kind.WORKSPACE, workspace, name=name)
        return workspace

    def add_project(self, workspace: UUID, name: str) -> UUID:
        """A project of the workspace. Raises ``ValueError`` for what is no name."""
        company, kind, archived_at = self._locked(Kind.WORKSPACE, workspace)
        with self._telling("project.create", company, Kind.WORKSPACE, workspace):
            _refuse_audit(kind)
            if archived_at is not None:
                raise Refused(f"workspace {workspace} is archived: it gets no projects")
        project = self._insert("insert_project", company, workspace, check_name(name))
        self._note("project.create", company, Kind.PROJECT, project, name=name, workspaceId=str(workspace))
        return project

    def add_key(self, company: UUID, workspace: UUID | None, terms: KeyTerms) -> Key:
        """A key of the company, or of one of its workspaces. Raises ``ValueError`` for what is no name."""
        check_name(terms.name)
        self._locked(Kind.COMPANY, company)
        if workspace is not None:
            with self._telling("key.create", company, Kind.WORKSPACE, workspace):
                self._check_open(company, workspace)
        key = self._insert_key(company, workspace, terms)
        told = {"scope": _scope(workspace).name, "workspaceId": workspace and str(workspace), **terms.told()}
        self._note("key.create", company, Kind.KEY, key.id, name=terms.name, prefix=key_prefix(key.text), **told)
        return key

    def rotate_key(self, key: UUID, overlap_seconds: int) -> tuple[UUID, Key]:
        """The key's company, and a successor with its scope, allowlist and expiry; the key itself is good for the overlap only."""
        company, workspace, prefix, _revoked_at, status, *terms = self._locked(Kind.KEY, key)
        with self._telling("key.rotate", company, Kind.KEY, key):
            if status != "ACTIVE":
                raise Refused(f"only an active key can be rotated, {key} is {status}")
            if workspace is not None:
                self._check_open(company, workspace)
        made = self._insert_key(company, workspace, kept := KeyTerms(*terms))
        (ends_at,) = self.one("retire_key", key, made.id, overlap_seconds) or (None,)
        told = {"scope": _scope(workspace).name, "workspaceId": workspace and str(workspace), **kept.told()}
        successor = {"newKeyId": str(made.id), "newPrefix": key_prefix(made.text), "oldExpiresAt": time_of(ends_at)}
        self._note("key.rotate", company, Kind.KEY, key, prefix=prefix, **told, **successor)
        return company, made

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
        action = "workspace.archive" if archived else "workspace.unarchive"
        company, kind, archived_at = self._locked(Kind.WORKSPACE, workspace)
        with self._telling(action, company, Kind.WORKSPACE, workspace):
            _refuse_audit(kind)
            if archived == (archived_at is not None):
                raise Refused(f"workspace {workspace} is {'' if archived else 'not '}archived already")
        self.run("set_archived", workspace, archived)
        self._note(action, company, Kind.WORKSPACE, workspace)

    def revoke_key(self, key: UUID) -> None:
        """From within ten seconds on, nobody gets in with it."""
        company, prefix = self._live_key("key.revoke", key)
        self.run("revoke_key", key)
        self._note("key.revoke", company, Kind.KEY, key, prefix=prefix)

    def set_allowlist(self, key: UUID, allowlist: Sequence[str]) -> None:
        """From where the key may be used: networks in CIDR notation; from anywhere when empty."""
        company, prefix = self._live_key("key.allowlist", key)
        self.run("set_allowlist", key, list(allowlist))
        self._note("key.allowlist", company, Kind.KEY, key, prefix=prefix, ipAllowlist=list(allowlist))

    def deny(self, denied: Denied) -> None:
        """Tell the audit of what was refused: in another transaction than the one in which it was."""
        self._record(denied.entry, denied.company)

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

    def _live_key(self, action: str, key: UUID) -> tuple[UUID, str]:
        company, _workspace, prefix, revoked_at, *_terms = self._locked(Kind.KEY, key)
        with self._telling(action, company, Kind.KEY, key):
            if revoked_at is not None:
                raise Refused(f"key {key} was revoked at {revoked_at.isoformat()}")
        return company, prefix

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

    def _insert_key(self, company: UUID, workspace: UUID | None, terms: KeyTerms) -> Key:
        scope = _scope(workspace)
        text = make_key(self.region, scope, self._entropy(scope))
        stored = (hash_key(self._secret, text), key_prefix(text), terms.name, list(terms.allowlist), terms.expires_at)
        return Key(self._insert("insert_key", company, workspace, *stored), text)

    def _insert(self, query: str, *arguments: object) -> UUID:
        row = self.one(query, *arguments)
        if row is None:
            raise LookupError(f"{query} returned no id")
        found: UUID = row[0]
        return found

    def _note(self, action: str, company: UUID, kind: Kind, id: UUID, **metadata: Any) -> None:
        self._record(self._entry(action, Outcome.SUCCESS, kind, id, metadata), company)

    @contextmanager
    def _telling(self, action: str, company: UUID, kind: Kind, id: UUID) -> Iterator[None]:
        """What is refused in here, is refused with what the company's audit is to be told of it."""
        try:
            yield
        except Refused as error:
            denied = Denied(company, self._entry(action, Outcome.DENIED, kind, id, {"reason": str(error)}))
            raise Refused(str(error), denied) from None

    def _entry(self, action: str, outcome: Outcome, kind: Kind, id: UUID, metadata: Members) -> Entry:
        target, acting = {"type": str(kind), "id": str(id)}, self._acting
        return Entry(action, outcome, acting.actor, acting.trace_id, target, metadata or None, acting.context)


def _scope(workspace: UUID | None) -> Scope:
    return Scope.COMPANY if workspace is None else Scope.WORKSPACE


def _refuse_audit(kind: str) -> None:
    if kind == "AUDIT":
        raise Refused("an AUDIT workspace is read-only: it has no keys and no projects, and can't be archived")


def _disabled(webhooks: list[str]) -> dict[str, Any]:
    return {"disabledWebhooks": webhooks} if webhooks else {}


def _json(members: Members) -> str:
    return orjson.dumps(dict(members)).decode()
