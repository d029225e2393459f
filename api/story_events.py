"""The events that the examples of the OpenAPI document tell of. Their hashes are true: whoever tries to verify them succeeds."""

from __future__ import annotations

from dataclasses import replace

from api.story import (
    AUDIT_WORKSPACE,
    COMPANY,
    EVENT,
    NEXT_EVENT,
    PROJECT,
    RECEIVED,
    USER,
    USERS_EMAIL,
    WORKSPACE,
)
from schemas.canonical import canonical
from schemas.event import SALT_BYTES, Group, StoredEvent
from schemas.incoming import parse_time
from schemas.leaf import ZERO_HASH, commitment, leaf_hash, leaf_of
from schemas.openapi import TRACE_ID, Json

INCOMING: Json = {
    "timestamp": "2026-01-31T10:30:00+01:00",
    "projectId": PROJECT,
    "tenantId": "customer-42",
    "category": "auth",
    "action": "user.login",
    "outcome": "SUCCESS",
    "actor": {"email": USERS_EMAIL, "id": USER, "type": "user"},
    "resource": {"id": "ses_501", "type": "session"},
    "metadata": {"method": "passkey"},
}


def event() -> StoredEvent:
    """The event of ``IncomingEvent``, as the first one of its workspace."""
    made = StoredEvent(
        seq=1,
        prev_hash=ZERO_HASH,
        hash=b"",
        source_offset=0,
        source_index=0,
        id=EVENT,
        company_id=COMPANY,
        workspace_id=WORKSPACE,
        project_id=PROJECT,
        tenant_id=INCOMING["tenantId"],
        data_region="US",
        timestamp=parse_time(INCOMING["timestamp"]),
        received_at=parse_time(RECEIVED),
        category=INCOMING["category"],
        action=INCOMING["action"],
        outcome=INCOMING["outcome"],
        trace_id=TRACE_ID,
        actor=_group(b"\x11", INCOMING["actor"]),
        resource=_group(b"\x22", INCOMING["resource"]),
        context=_group(b"\x33", {"ipAddress": "203.0.113.7", "userAgent": "billing/2.1"}),
        metadata=_group(b"\x44", INCOMING["metadata"]),
    )
    return replace(made, hash=leaf_hash(leaf_of(made)))


def audited(key: Json) -> StoredEvent:
    """The entry of a key that the story's user makes at the dashboard, as the first one of the company's audit."""
    resource = {name: key[name] for name in ("id", "name", "prefix")}
    made = replace(
        event(),
        id=NEXT_EVENT,
        workspace_id=AUDIT_WORKSPACE,
        project_id=None,
        tenant_id=None,
        category="admin",
        action="key.create",
        actor=_group(b"\x55", {"id": USER, "email": USERS_EMAIL, "role": "ADMIN", "type": "user"}),
        resource=_group(b"\x66", resource | {"type": "key"}),
        metadata=_group(b"\x77", {name: key[name] for name in ("scope", "workspaceId", "expiresAt", "ipAllowlist")}),
    )
    return replace(made, hash=leaf_hash(leaf_of(made)))


def _group(salt: bytes, value: Json) -> Group:
    sealed = salt * SALT_BYTES + canonical(value)
    return Group(commitment(sealed), sealed)
