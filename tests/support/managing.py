"""Companies whose keys may manage, and what the audit was told of them before a relay took it away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from ops.seed import Tenant
from schemas.accepted import FIELDS, open_envelope
from schemas.event import SALT_BYTES

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
LOOPBACK = ("127.0.0.0/8",)


@dataclass(frozen=True)
class Told:
    """An entry of the audit."""

    action: str
    outcome: str
    trace_id: str
    actor: Any
    target: Any
    metadata: Any
    context: Any
    position: int = 0
    """Its place among all entries of the region."""


async def bind(superuser: Database, tenant: Tenant, networks: tuple[str, ...] = LOOPBACK) -> None:
    """Let the company key be used from these networks alone. To be called before it is used."""
    statement = "UPDATE api_key SET ip_allowlist = $2::text[]::cidr[] WHERE company_id = $1 AND workspace_id IS NULL"
    await superuser.execute(statement, tenant.id, networks)


async def audit_workspace(superuser: Database, company_id: UUID) -> UUID:
    """The company's AUDIT workspace."""
    found: UUID = await superuser.fetchval("SELECT id FROM workspace WHERE company_id = $1 AND kind = 'AUDIT'", company_id)
    return found


async def operator(superuser: Database) -> UUID:
    """The operator's company."""
    found: UUID = await superuser.fetchval("SELECT id FROM company WHERE is_operator")
    return found


async def told_since(superuser: Database, position: int) -> list[tuple[UUID, Told]]:
    """All companies' entries that wait in the outbox behind a place, and whose they are, oldest first."""
    query = "SELECT company_id, event_id, record, position FROM audit_outbox WHERE position > $1 ORDER BY position"
    rows = await superuser.fetch(query, position)
    return [(row["company_id"], _told(row["record"], row["event_id"], row["position"])) for row in rows]


async def told(superuser: Database, company_id: UUID) -> list[Told]:
    """The company's entries that wait in the outbox, oldest first."""
    rows = await superuser.fetch("SELECT event_id, record, position FROM audit_outbox WHERE company_id = $1 ORDER BY position", company_id)
    return [_told(row["record"], row["event_id"], row["position"]) for row in rows]


def _told(record: bytes, event_id: UUID, position: int) -> Told:
    (event,) = open_envelope(record).events
    assert event.id_text == str(event_id)
    found = dict(zip(FIELDS, event.fields, strict=True))
    groups = {name: _value(found[name]) for name in ("actor", "resource", "metadata", "context")}
    action, outcome = ((found[name] or b"").decode() for name in ("action", "outcome"))
    actor, target, metadata, context = (groups[name] for name in ("actor", "resource", "metadata", "context"))
    return Told(action, outcome, event.trace_id.hex(), actor, target, metadata, context, position)


def _value(group: bytes | None) -> Any:
    return None if group is None else json.loads(group[SALT_BYTES:])
