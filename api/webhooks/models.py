"""The shapes of the answers of ``/v1/webhooks``, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.models import Hash, Id, Shape, Time
from schemas.webhooks import Failure, Kind, State


class WebhookFilters(Shape):
    """Which events: those that fit a pattern of each field that is there."""

    category: list[str] = Field(default_factory=list)
    action: list[str] = Field(default_factory=list)


class Replay(Shape):
    """Events that are sent again."""

    id: Id
    state: Literal["RUNNING", "DONE", "CANCELLED"]
    events: int = Field(ge=0, description="How many were put in line so far.")
    created_at: Time
    finished_at: Time | None = Field(description="When the last one was put in line, or it was cancelled.")


class Webhook(Shape):
    """An endpoint that stored events are posted to."""

    id: Id
    workspace_id: Id
    project_id: Id | None = Field(description="Null: it is told of all projects' events.")
    url: str
    events: list[Literal["AUDIT_EVENT_CREATED"]]
    filters: WebhookFilters
    description: str | None
    status: Literal["ACTIVE", "DISABLED", "DELETED"]
    disabled_reason: Literal["MANUAL", "GONE", "FAILING", "PLAN"] | None = Field(
        description="GONE: it answered 410. FAILING: for five days. PLAN: the company's plan has room for fewer."
    )
    disabled_at: Time | None
    failing_since: Time | None = Field(description="The first failure after the last success.")
    secret_rotates_until: Time | None = Field(description="While the secret before the last rotation signs too: until when.")
    created_at: Time
    updated_at: Time
    deleted_at: Time | None
    replay: Replay | None = Field(description="The latest one.")


class NewWebhook(Webhook):
    """An endpoint that just got its secret."""

    secret: Annotated[str, Field(pattern="^whsec_[A-Za-z0-9+/]{43}=$")] = Field(description="It can't be told again.")


class WebhookPage(Shape):
    """A page of webhooks."""

    data: list[Webhook]
    next_cursor: str | None


class TestDelivery(Shape):
    """A test that is on its way."""

    delivery_id: Id


class NewReplay(Shape):
    """A replay that has begun."""

    replay_id: Id
    state: Literal["RUNNING"]
    events: int
    created_at: Time
    finished_at: None


class Attempt(Shape):
    """One request of a delivery, or why there was none. Bodies of answers are not kept."""

    attempt: int = Field(ge=1, description="From 1; a replay begins again at 1.")
    kind: Kind
    attempted_at: Time
    duration_ms: int | None = Field(description="Null: it was not sent, or nobody knows.")
    response_status: int | None
    error: Failure | None = Field(description="Why there was no answer; null: there was one.")
    body_hash: Hash | None = Field(description="SHA-256 of the body that was sent.")
    next_attempt_at: Time | None


class Delivery(Shape):
    """An event, or a test, on its way to a webhook."""

    id: Id = Field(description="`webhook-id` of its requests: the same for a webhook and event whenever it is sent.")
    event_id: Id | None = Field(description="Null for a test.")
    seq: int | None = Field(description="The event's place in its workspace's chain.")
    kind: Kind = Field(description="REPLAY: it was asked for again.")
    state: State
    attempts: list[Attempt] = Field(description="Those of the last 30 days, oldest first; the newest hundred.")
    next_attempt_at: Time | None = Field(description="While it is PENDING or RETRYING: when it is due.")


class DeliveryPage(Shape):
    """A page of deliveries."""

    data: list[Delivery]
    next_cursor: str | None = Field(description="Null on the last page.")
