"""The examples of ``/v1/webhooks``: an endpoint of the story's company, to which its event was delivered at the second attempt."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from api.story import CREATED, CURSOR, EVENT, LATER, PROJECT, RECEIVED, WEBHOOK, WORKSPACE
from schemas.event import StoredEvent, format_time
from schemas.incoming import parse_time
from schemas.openapi import Json
from schemas.webhooks import EVENT_TYPES, delivery_id, event_body

_URL: Final = "https://hooks.example.com/hyrelog"
_FILTERS: Final[Json] = {"category": ["auth", "data*"], "action": ["user.*"]}
_REPLAY: Final[Json] = {"state": "RUNNING", "events": 0, "createdAt": LATER, "finishedAt": None}
_REPLAY_ID: Final = "019c1400-9000-7d66-8e7f-3a4b5c6d7e8f"
_WEBHOOK: Final[Json] = {
    "id": WEBHOOK,
    "workspaceId": WORKSPACE,
    "projectId": PROJECT,
    "url": _URL,
    "events": list(EVENT_TYPES),
    "filters": _FILTERS,
    "description": "To our SIEM",
    "status": "ACTIVE",
    "disabledReason": None,
    "disabledAt": None,
    "failingSince": None,
    "secretRotatesUntil": None,
    "createdAt": CREATED,
    "updatedAt": CREATED,
    "deletedAt": None,
    "replay": None,
}
_SECRET: Final = "whsec_" + "MfKQ9r8GKYqrTwjUPD8I" * 2 + "TAx="
_MINUTE: Final = 60_000_000

OF_OPERATION: Final[dict[str, Json]] = {
    "delete /v1/webhooks/{id}": _WEBHOOK | {"status": "DELETED", "disabledReason": "MANUAL", "disabledAt": LATER, "deletedAt": LATER},
    "post /v1/webhooks/{id}/disable": _WEBHOOK | {"status": "DISABLED", "disabledReason": "MANUAL", "disabledAt": LATER},
    "post /v1/webhooks/{id}/rotate-secret": _WEBHOOK
    | {"secretRotatesUntil": "2026-02-01T09:30:00.530118Z", "updatedAt": LATER, "secret": _SECRET},
}
"""Answers that are not as others of their shape."""
FINDINGS: Final[dict[str, Json]] = {
    "post /v1/workspaces/{id}/webhooks": {"field": "url", "message": "Field required"},
    "patch /v1/webhooks/{id}": {"field": "events", "message": "List should have at least 1 item after validation, not 0"},
    "post /v1/webhooks/{id}/replay": {"message": "takes from and to, or fromSeq and toSeq, or eventIds"},
}


def shapes(event: StoredEvent) -> Json:
    """By the names of the shapes, of a webhook that was told of the event."""
    return {
        "WebhookWish": {"url": _URL, "events": list(EVENT_TYPES), "projectId": PROJECT, "filters": _FILTERS, "description": "To our SIEM"},
        "WebhookChange": {"description": "To our new SIEM"},
        "ReplayWish": {"fromSeq": 1, "toSeq": 1},
        "Webhook": _WEBHOOK,
        "NewWebhook": _WEBHOOK | {"secret": _SECRET},
        "WebhookPage": {"data": [_WEBHOOK], "nextCursor": None},
        "TestDelivery": {"deliveryId": "019c1400-8000-7d55-9d6e-5a6b7c8d9e0f"},
        "NewReplay": {"replayId": _REPLAY_ID} | _REPLAY,
        "DeliveryPage": {"data": [_delivery(event)], "nextCursor": CURSOR},
    }


def _delivery(event: StoredEvent) -> Json:
    first = parse_time(LATER)
    tried = {"kind": "EVENT", "bodyHash": sha256(event_body(event)).hexdigest()}
    due = format_time(first + _MINUTE)
    return {
        "id": delivery_id(WEBHOOK, EVENT, parse_time(RECEIVED)),
        "eventId": EVENT,
        "seq": event.seq,
        "kind": "EVENT",
        "state": "SUCCEEDED",
        "attempts": [
            _attempt(1, LATER, duration=412, status=503, next_at=due) | tried,
            _attempt(2, due, duration=38, status=200, next_at=None) | tried,
        ],
        "nextAttemptAt": None,
    }


def _attempt(number: int, at: str, *, duration: int, status: int, next_at: str | None) -> Json:
    times = {"attemptedAt": at, "durationMs": duration, "nextAttemptAt": next_at}
    return {"attempt": number, "responseStatus": status, "error": None} | times
