"""The examples of the OpenAPI document, by shape and by parameter: one event's story, whose hashes are true."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from api.attempt import kind_of
from api.dashboard import examples as dashboard
from api.exports import examples as exports
from api.story import (
    COMPANY,
    CREATED,
    CURSOR,
    EVENT,
    KEY,
    LATER,
    NEW_KEY,
    NEXT_EVENT,
    OCCURRED,
    POSITION,
    PROJECT,
    RECEIVED,
    RESTORE,
    USER,
    USERS_EMAIL,
    WEBHOOK,
    WORKSPACE,
)
from api.story_events import INCOMING, audited, event
from api.webhooks import examples as webhooks
from schemas.codec import AUDIT_EVENT, schema_fingerprint
from schemas.event import StoredEvent
from schemas.openapi import TRACE_ID, Json
from schemas.plans import STANDARD_CATEGORIES
from schemas.view import render

_FEWEST: Json = {"category": "billing", "action": "invoice.paid"}
_KEY: Json = {
    "id": NEW_KEY,
    "prefix": "hlk_us_ws_5f2d",
    "scope": "WORKSPACE",
    "workspaceId": WORKSPACE,
    "name": "Billing service",
    "status": "ACTIVE",
    "createdAt": OCCURRED,
    "expiresAt": None,
    "lastUsedAt": None,
    "ipAllowlist": ["203.0.113.0/24"],
}
_OLD_KEY: Json = _KEY | {"id": KEY, "prefix": "hlk_us_ws_81c0", "status": "ROTATED", "expiresAt": "2026-01-31T10:30:00.000000Z"}
_REJECTION: Json = {
    "id": EVENT,
    "workspaceId": WORKSPACE,
    "reason": "NOT_STORABLE",
    "detail": "The event holds what can't be stored.",
    "receivedAt": RECEIVED,
    "rejectedAt": LATER,
}
_PROJECT: Json = {"id": PROJECT, "workspaceId": WORKSPACE, "name": "Main App", "createdAt": CREATED}
_WORKSPACE: Json = {"id": WORKSPACE, "name": "Production", "kind": "STANDARD", "archivedAt": None, "createdAt": CREATED, "seq": 1}
_USAGE: Json = {
    "plan": "GROWTH",
    "limits": {
        "hotDays": 90,
        "archiveDays": 365,
        "coldAfterDays": 180,
        "exportRows": 1_000_000,
        "exportSources": ["HOT", "ARCHIVED", "HOT_AND_ARCHIVED"],
        "webhooks": 3,
        "customCategories": True,
        "restoreTiers": ["STANDARD", "BULK"],
        "requestsPerMinute": 1200,
        "eventsPerMinute": 60_000,
    },
    "used": {"events": 1, "workspaces": 1, "projects": 1, "keys": 2},
}
_PARAMETERS: Json = {
    "limit": 20,
    "cursor": CURSOR,
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-02-01T00:00:00+01:00",
    "receivedFrom": "2026-01-01T00:00:00Z",
    "receivedTo": "2026-02-01T00:00:00Z",
    "category": "auth",
    "action": "user.*",
    "outcome": "SUCCESS",
    "workspaceId": WORKSPACE,
    "projectId": PROJECT,
    "tenantId": "customer-42",
    "actorId": USER,
    "actorEmail": USERS_EMAIL,
    "resourceType": "session",
    "resourceId": "ses_501",
    "traceId": TRACE_ID,
    "idempotencyKey": "login-501",
    "q": "ada passkey",
    "sort": "timestamp",
    "order": "desc",
    "include": "verification",
    "status": "FAILED",
    "eventId": EVENT,
    "since": "2026-01-31T09:00:00Z",
    "lastEventId": POSITION,
    "offset": 0,
    "accept-encoding": "gzip",
    "last-event-id": POSITION,
    "region": "US",
    "search": "example",
    "plan": "GROWTH",
    "companyId": COMPANY,
    "targetId": NEW_KEY,
}
_FINDINGS: dict[str, Json] = {
    "get /v1/events/tail": {"field": "limit", "message": "Extra inputs are not permitted"},
    "post /v1/events": {"field": "category", "message": "is required"},
    "post /v1/events/batch": {"index": 1, "field": "category", "message": "is required"},
    "post /v1/workspaces/{id}/keys": {"field": "name", "message": "Field required"},
    "post /v1/keys/{id}/rotate": {"field": "overlapSeconds", "message": "Input should be less than or equal to 86400"},
    **webhooks.FINDINGS,
    **exports.FINDINGS,
    **dashboard.FINDINGS,
}
_UUID: Json = {"type": "string", "format": "uuid"}
_PATH_IDS = {
    "event": EVENT,
    "workspace": WORKSPACE,
    "key": KEY,
    "project": PROJECT,
    "webhook": WEBHOOK,
    "export": exports.EXPORT,
    "company": COMPANY,
    "restore-request": RESTORE,
}


def of(schema: Json, operation: str) -> Json:
    """``example`` or ``examples`` of a body of that shape; ``operation`` is ``get /v1/events``."""
    if "anyOf" in schema:
        named = (option["$ref"].rpartition("/")[2] for option in schema["anyOf"])
        return {"examples": {name: {"value": _shapes()[name]} for name in named}}
    name: str = _name(schema) or schema.get("type", "")
    special = webhooks.OF_OPERATION | exports.OF_OPERATION
    value = _bodies().get((operation, name), special.get(operation, _shapes().get(name)))
    return {} if value is None else {"example": value}


def finding(name: str, operation: Json) -> Json:
    """What a 400 of the operation may find wrong."""
    if name in _FINDINGS:
        return _FINDINGS[name]
    takes_limit = any(each["name"] == "limit" for each in operation.get("parameters", ()))
    return {"field": "limit", "message": "Input should be less than or equal to 200" if takes_limit else "unknown parameter"}


def parameter(path: str, name: str) -> Json:
    """The ``example``, and of what stands in a path also the ``description`` and ``schema``, of a route's parameter."""
    if name == "fingerprint":
        schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
        return {"example": schema_fingerprint(AUDIT_EVENT), "description": "CRC-64-AVRO: 16 lower-case hex digits.", "schema": schema}
    if name == "id":
        kind = kind_of(path)
        return {"example": _PATH_IDS[kind], "description": f"Id of the {kind}.", "schema": _UUID}
    return {"example": _PARAMETERS[name]} if name in _PARAMETERS else {}


def _name(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


@cache
def _shapes() -> Json:
    first = event()
    head = {"workspaceId": WORKSPACE, "seq": 1, "hash": first.hash.hex(), "updatedAt": LATER}
    shapes = {
        "Event": orjson.loads(render(first, verification=True)),
        "RejectedEvent": {"id": EVENT, "status": "REJECTED", "reason": "NOT_STORABLE"},
        "EventPage": {"data": [_shown(first)], "nextCursor": CURSOR, "hotSince": None},
        "Chain": head,
        "Workspace": _WORKSPACE,
        "WorkspacePage": {"data": [_WORKSPACE], "nextCursor": None},
        "Project": _PROJECT,
        "ProjectPage": {"data": [_PROJECT], "nextCursor": None},
        "Usage": _USAGE,
        "CategoryList": {"data": sorted(STANDARD_CATEGORIES), "nextCursor": None},
        "RejectionPage": {"data": [_REJECTION], "nextCursor": None},
        "OperatorRejectionPage": {"data": [_REJECTION | {"companyId": COMPANY, "original": "wwE="}], "nextCursor": None},
        "KeyWish": {"name": "Billing service", "expiresAt": None, "ipAllowlist": ["203.0.113.0/24"]},
        "Key": _KEY,
        "NewKey": _KEY | {"key": _KEY["prefix"] + "0a1b" * 11},
        "RotatedKey": _KEY | {"key": _KEY["prefix"] + "0a1b" * 11, "previous": _OLD_KEY},
        "RotationWish": {"overlapSeconds": 3600},
        "IncomingEvent": INCOMING,
        "AcceptedEvent": {"id": EVENT, "status": "ACCEPTED", "receivedAt": RECEIVED},
        "AcceptedBatch": {"accepted": 2, "events": [{"id": EVENT, "status": "ACCEPTED"}, {"id": NEXT_EVENT, "status": "ACCEPTED"}]},
        "Service": {"service": "hyrelog-api", "version": "1.0.0", "status": "running"},
        "Alive": {"status": "ok"},
        "Ready": {"status": "ready"},
        "NotReady": {"status": "unavailable", "missing": ["postgres.eu"]},
        "Health": {
            "status": "ok",
            "uptime": 86_400.125,
            "timestamp": LATER,
            "service": "hyrelog-api",
            "missing": [],
            "notices": [],
        },
        **webhooks.shapes(first),
        **exports.shapes(first),
    }
    return shapes | dashboard.shapes(shapes, _shown(audited(_KEY)))


@cache
def _bodies() -> dict[tuple[str, Any], Any]:
    """Bodies that are not as others of their shape, or of none that has a name: by operation and shape, or type."""
    lines = (orjson.dumps(each).decode() for each in (INCOMING, _FEWEST))
    sample = {"name": "hyrelog_refused_total", "labels": {"code": "VALIDATION_ERROR"}, "value": 3.0}
    family = {"name": "hyrelog_refused", "type": "counter", "help": "Requests that were refused.", "samples": [sample]}
    return {
        ("get /internal/metrics", "array"): [family],
        ("get /v1/events/tail", "string"): f"id: {POSITION}\nevent: audit-event\ndata: {render(event(), verification=False).decode()}\n\n",
        ("get /v1/exports/{id}/download", "string"): f"{render(event(), verification=True).decode()}\n",
        ("post /v1/events", "Event"): _shown(event()),
        ("post /v1/events/batch", "array"): [INCOMING, _FEWEST],
        ("post /v1/events/batch", "string"): "\n".join(lines),
        ("get /v1/schemas/{fingerprint}", "object"): AUDIT_EVENT,
        **dashboard.of_operation(_shapes()),
    }


def _shown(stored: StoredEvent) -> Json:
    shown: Json = orjson.loads(render(stored, verification=False))
    return shown
