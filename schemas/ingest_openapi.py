"""The OpenAPI entries of ingest's two routes, which are served without a framework (contract §2 "Ingest")."""

from __future__ import annotations

from typing import Final

from schemas.canonical import MAX_INTEGER
from schemas.incoming import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_BODY_BYTES,
    MAX_EVENT_BYTES,
    MAX_EXTRACTED_BYTES,
    MAX_TENANT_CHARACTERS,
)
from schemas.openapi import HEADERS, WORKSPACE_KEY, Json, content, nullable, reference, refusals
from schemas.problems import (
    Forbidden,
    IdempotencyConflict,
    InternalError,
    PayloadTooLarge,
    PlanRestricted,
    Problem,
    RequestTimeout,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
    WorkspaceArchived,
)


def _group(description: str, **members: str) -> Json:
    extracted = {name: nullable({**_extracted(text), "description": text}) for name, text in members.items()}
    return nullable({**_OBJECT, "description": description, "properties": extracted})


def _extracted(text: str) -> Json:
    return _TEXT | {"maxLength": MAX_EXTRACTED_BYTES} if text == _SHORT else _TEXT


_SHORT: Final = f"At most {MAX_EXTRACTED_BYTES} bytes of UTF-8."
_TEXT: Final[Json] = {"type": "string", "pattern": "^[^\\u0000]*$"}
_OBJECT: Final[Json] = {"type": "object", "propertyNames": _TEXT, "additionalProperties": reference("Json")}
_UUID: Final = {"type": "string", "format": "uuid"}
_TIME: Final = {"type": "string", "format": "date-time"}

COMPONENTS: Final[Json] = {
    "Json": {
        "description": "Any JSON (RFC 7493): at most 32 levels, no name twice, no U+0000, integral numbers within ±(2^53−1).",
        "anyOf": [
            {"type": ["boolean", "null"]},
            {"type": "number", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
            _TEXT,
            {"type": "array", "items": reference("Json")},
            _OBJECT,
        ],
    },
    "IncomingEvent": {
        "type": "object",
        "description": "An event as posted. Whatever is in `actor`, `resource` and `metadata` can be erased later; nothing else can.",
        "required": ["category", "action"],
        "additionalProperties": False,
        "properties": {
            "timestamp": nullable({**_TIME, "description": "When it happened; the time of receipt when absent. At most 24 h ahead."}),
            "projectId": nullable({**_UUID, "description": "A project of the workspace."}),
            "tenantId": nullable(
                {**_TEXT, "minLength": 1, "maxLength": MAX_TENANT_CHARACTERS, "description": "Your own customer; opaque to us."}
            ),
            "category": {"type": "string", "pattern": "^[a-z][a-z0-9._-]{0,63}$"},
            "action": {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$"},
            "outcome": nullable({"type": "string", "enum": ["SUCCESS", "FAILURE", "DENIED"]}),
            "actor": _group("Who did it.", id=_SHORT, type=_SHORT, name="", email=_SHORT, role=_SHORT),
            "resource": _group("To what.", type=_SHORT, id=_SHORT, name=""),
            "metadata": _group("Anything else."),
            "idempotencyKey": nullable(
                {"type": "string", "pattern": "^[ -~]{1,255}$", "description": "The same as the header `Idempotency-Key`."}
            ),
        },
    },
    "AcceptedEvent": {
        "type": "object",
        "description": "The event is safe: Kafka acknowledged it.",
        "required": ["id", "status", "receivedAt"],
        "properties": {"id": _UUID, "status": {"const": "ACCEPTED", "type": "string"}, "receivedAt": _TIME},
    },
    "AcceptedBatch": {
        "type": "object",
        "description": "All events of the batch are safe, in the order in which they were posted.",
        "required": ["accepted", "events"],
        "properties": {
            "accepted": {"type": "integer"},
            "events": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "status"],
                    "properties": {"id": _UUID, "status": {"type": "string", "enum": ["ACCEPTED", "REPLAYED"]}},
                },
            },
        },
    },
}

_SAID: Final[dict[type[Problem], str]] = {
    ValidationFailed: "The body or a header is not valid; `details` name each index and field.",
    Forbidden: "Only a workspace's key may write, from an address on its allowlist.",
    WorkspaceArchived: "The workspace takes no more events.",
    PlanRestricted: "The plan takes the standard categories only.",
    IdempotencyConflict: "A key was used before, for an event of other content; in a batch, `details` name the index.",
    PayloadTooLarge: "The body, unpacked, or an event in it is too large.",
    Unavailable: (
        "Not accepted as far as we know, but the outcome is open: the event may still be stored. "
        "With an idempotency key it is safe to send again, without one it may double."
    ),
}
_REFUSALS: Final = (*_SAID, Unauthorized, RequestTimeout, UnsupportedMediaType, InternalError)
_CODING: Final = {
    "name": "Content-Encoding",
    "in": "header",
    "schema": {"type": "string", "enum": ["gzip", "zstd", "identity"]},
    "example": "identity",
    "description": "One coding; the size limits hold for the unpacked body.",
}
_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "example": "wait=10",
    "description": "`wait=N`: answer once the event is stored, if that takes no more than N seconds (30 at most). Others are ignored.",
}
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
    "example": "login-ses_501",
    "description": (
        "Makes it safe to send the event again: a key of the workspace stands for one event, for as long as that is hot and at least "
        "24 hours. The same as the field `idempotencyKey`; where both are sent they must be equal. On a batch it is refused."
    ),
}

PATHS: Final[Json] = {
    "/v1/events": {
        "post": {
            "tags": ["events"],
            "operationId": "post_event",
            "summary": "Record an event",
            "description": (
                "202 says that the event is safe and will be chained and stored in order. "
                f"A body holds at most {MAX_BODY_BYTES >> 10} KiB, the event in canonical form at most {MAX_EVENT_BYTES >> 10} KiB."
            ),
            "security": [WORKSPACE_KEY],
            "parameters": [_CODING, _PREFER, _IDEMPOTENCY],
            "requestBody": {"required": True, "content": content(reference("IncomingEvent"))},
            "responses": {
                "200": {
                    "description": "The key was used before, for an event of the same content: that event, as stored.",
                    "headers": {"Preference-Applied": {**HEADERS["Preference-Applied"], "required": False}},
                    "content": content(reference("Event")),
                },
                "201": {
                    "description": "With `Prefer: wait`: the event as stored.",
                    "headers": {"Preference-Applied": reference("Preference-Applied", "headers")},
                    "content": content(reference("Event")),
                },
                "202": {
                    "description": (
                        "Accepted; with a key that was used before, the first event's id while it is on its way, or can't be read just now."
                    ),
                    "content": content(reference("AcceptedEvent")),
                },
                **refusals(_REFUSALS, _SAID),
            },
        }
    },
    "/v1/events/batch": {
        "post": {
            "tags": ["events"],
            "operationId": "post_events",
            "summary": "Record up to a thousand events at once",
            "description": (
                f"A JSON array, or NDJSON: at most {MAX_BATCH_EVENTS:,} events and {MAX_BATCH_BYTES >> 20} MiB. "
                "All or nothing: one bad event refuses the batch, naming its index and field. Idempotency keys go into the events: "
                "those that are replays are not stored again."
            ),
            "security": [WORKSPACE_KEY],
            "parameters": [_CODING],
            "requestBody": {
                "required": True,
                "content": content({"type": "array", "minItems": 1, "maxItems": MAX_BATCH_EVENTS, "items": reference("IncomingEvent")})
                | content({"type": "string", "description": "One IncomingEvent a line."}, "application/x-ndjson"),
            },
            "responses": {
                "202": {
                    "description": "Accepted. REPLAYED: the event's key was used before for the same content; the id is the first event's.",
                    "content": content(reference("AcceptedBatch")),
                },
                **refusals(_REFUSALS, _SAID),
            },
        }
    },
}
