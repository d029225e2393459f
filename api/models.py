"""The shapes of the answers, for the OpenAPI document. Answers are joined from bytes and never pass through these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from schemas.openapi import HEX_32

Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Time = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$")
]
TraceId = Annotated[str, Field(pattern=HEX_32)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Group = Annotated[dict[str, Any] | None, Field(description="Exactly the canonical JSON that was committed to; null when absent or erased.")]


class Shape(BaseModel):
    """An answer, camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)


class Context(BaseModel):
    """Where the request that posted the event came from; what is not known is not there."""

    ip_address: str = Field("", alias="ipAddress")
    user_agent: str = Field("", alias="userAgent", description="Cut at 512 characters.")


class OfGroups(BaseModel):
    """A value for each of the four groups; null where the group is absent (or, for salts, erased)."""

    actor: str | None
    resource: str | None
    context: str | None
    metadata: str | None


class Verification(Shape):
    """All that leaf and hash can be computed from again, with the event itself."""

    v: Literal[1]
    commitments: OfGroups
    salts: OfGroups


class Event(Shape):
    """A stored event."""

    id: Id
    company_id: Id
    workspace_id: Id
    project_id: Id | None
    tenant_id: str | None
    data_region: Literal["US", "EU", "UK", "AU"]
    seq: int = Field(ge=1, description="Its place in the workspace's chain: 1, 2, 3 … without a gap.")
    timestamp: Time = Field(description="When it happened, as the producer says; six decimals and Z.")
    received_at: Time = Field(description="When it was accepted.")
    category: str
    action: str
    outcome: Literal["SUCCESS", "FAILURE", "DENIED"] | None
    actor: Group
    resource: Group
    context: Context | None
    metadata: Group
    trace_id: TraceId
    prev_hash: Hash
    hash: Hash
    erased_at: Time | None = Field(None, description="When personal data in it was erased; only there if it was.")
    verification: Verification | None = Field(None, description="Only there when asked for, and always in `GET /v1/events/{id}`.")


class RejectedEvent(Shape):
    """An event that was accepted and could not be stored."""

    id: Id
    status: Literal["REJECTED"]
    reason: str


class EventPage(Shape):
    """A page of events."""

    data: list[Event]
    next_cursor: str | None = Field(description="Null on the last page.")
    hot_since: Time | None = Field(description="Events received up to then may have left the database for the archive; null: none has.")


class Chain(Shape):
    """The newest link of a workspace's chain; seq 0 and 64 zeros before its first event."""

    workspace_id: Id
    seq: int
    hash: Hash
    updated_at: Time | None


class Workspace(Shape):
    """A workspace of the company."""

    id: Id
    name: str
    kind: Literal["STANDARD", "AUDIT"] = Field(description="AUDIT: holds the record of management, and is read-only.")
    archived_at: Time | None = Field(description="Since when it takes no events; null: it does.")
    created_at: Time
    seq: int = Field(ge=0, description="How many events its chain has: the seq of the newest.")


class WorkspacePage(Shape):
    """A page of workspaces."""

    data: list[Workspace]
    next_cursor: str | None


class Project(Shape):
    """A project of a workspace."""

    id: Id
    workspace_id: Id
    name: str
    created_at: Time


class ProjectPage(Shape):
    """A page of projects."""

    data: list[Project]
    next_cursor: str | None


class Limits(Shape):
    """What the company's plan allows, its own exceptions included."""

    hot_days: int = Field(description="Days that events are answered from the database.")
    archive_days: int | None = Field(description="Days that they are in the archive; null: never.")
    cold_after_days: int | None = Field(description="Days after which archives need restoring; null: never.")
    export_rows: int | None = Field(description="Rows of an export; null: any number.")
    export_sources: list[Literal["HOT", "ARCHIVED", "HOT_AND_ARCHIVED"]]
    webhooks: int = Field(description="Enabled webhooks.")
    custom_categories: bool = Field(description="Whether events may have other categories than `GET /v1/categories` lists.")
    restore_tiers: list[Literal["EXPEDITED", "STANDARD", "BULK"]]
    requests_per_minute: int | None = Field(description="Of one key; null: any number.")
    events_per_minute: int | None = Field(description="Of the company; null: any number.")


class Used(Shape):
    """What there is, of the company or, for a workspace key, of the workspace; without the AUDIT workspace."""

    events: int = Field(ge=0, description="Ever stored: the sum of the chains' lengths, purged events included.")
    workspaces: int = Field(ge=0, description="Archived ones too.")
    projects: int = Field(ge=0)
    keys: int = Field(ge=0, description="Neither revoked nor expired. A workspace key sees its workspace's.")


class Usage(Shape):
    """Plan, limits, and what is used."""

    plan: Literal["FREE", "STARTER", "GROWTH", "ENTERPRISE"]
    limits: Limits
    used: Used


class CategoryList(Shape):
    """The standard categories: any plan takes them."""

    data: list[str]
    next_cursor: None = Field(description="Always null: the list is whole.")


class Rejection(Shape):
    """Why an accepted event could not be stored."""

    id: Id | None
    workspace_id: Id | None
    reason: str
    detail: str
    received_at: Time | None
    rejected_at: Time


class RejectionPage(Shape):
    """A page of rejections."""

    data: list[Rejection]
    next_cursor: str | None


class OperatorRejection(Rejection):
    """The same with what only the operator sees."""

    company_id: Id | None
    original: str = Field(description="The record's bytes, base64.")


class OperatorRejectionPage(Shape):
    """A page of rejections for the operator."""

    data: list[OperatorRejection]
    next_cursor: str | None


class Key(Shape):
    """An API key as it stands now."""

    id: Id
    prefix: str = Field(description="Its first characters, to tell keys apart by eye.")
    scope: Literal["WORKSPACE", "COMPANY"]
    workspace_id: Id | None = Field(description="Null for a company key.")
    name: str
    status: Literal["ACTIVE", "ROTATED", "EXPIRED", "REVOKED"] = Field(description="ROTATED: replaced, and good until `expiresAt`.")
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None = Field(description="May lag by some seconds.")
    ip_allowlist: list[str] = Field(description="Networks in CIDR notation; empty: it may be used from anywhere.")


class NewKey(Key):
    """An API key just made."""

    key: str = Field(description="The key itself. It is stored nowhere and can't be told again.")


class RotatedKey(NewKey):
    """The successor of a key."""

    previous: Key = Field(description="The key it replaces.")
