"""The shapes of the answers of ``/v1/exports``, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.exports.wishes import Format, Source
from api.models import Hash, Id, Shape, Time
from api.parameters import Outcome

Count = Annotated[str, Field(pattern="^[0-9]+$", description="A whole number, as text: JSON parsers may keep no large one exact.")]


class AskedFilters(Shape):
    """The filters that were sent."""

    received_from: Time | None = None
    received_to: Time | None = None
    category: str | None = None
    action: str | None = None
    outcome: Outcome | None = None
    workspace_id: Id | None = None
    project_id: Id | None = None
    tenant_id: str | None = None
    actor_id: str | None = None
    actor_email: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    trace_id: str | None = None
    q: str | None = None
    idempotency_key: str | None = None


class NewExport(Shape):
    """An export that can be downloaded."""

    job_id: Id
    status: Literal["PENDING"]


class _Asked(Shape):
    source: Source
    format: Format
    filters: AskedFilters
    start: Time | None = Field(alias="from")
    end: Time | None = Field(alias="to")


class Export(_Asked):
    """An export, and what became of its download."""

    job_id: Id
    status: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"] = Field(
        description="PENDING: not downloaded yet. FAILED, and CANCELED by a client that went away: it may be downloaded again."
    )
    reason: (
        Literal[
            "CLIENT_GONE",
            "CLIENT_STALLED",
            "KEY_ENDED",
            "REQUESTED",
            "EVENTS_GONE",
            "ARCHIVE_COLD",
            "ARCHIVE_UNREADABLE",
            "CHAIN_BROKEN",
            "UNAVAILABLE",
            "INTERRUPTED",
            "PROCESS_DIED",
            "INTERNAL_ERROR",
        ]
        | None
    ) = Field(
        description="Why it failed or was cancelled. EVENTS_GONE: past their retention. ARCHIVE_COLD: a restoration ended meanwhile. "
        "CHAIN_BROKEN: some are missing that must be there. KEY_ENDED: revoked or expired meanwhile. "
        "INTERRUPTED: our server was stopped."
    )
    limit: int | None
    csv_raw: bool
    verification: bool
    rows: Count = Field(description="How many there are so far, or were.")
    truncated: bool = Field(description="There were more events than the export may have rows.")
    created_at: Time
    started_at: Time | None = Field(description="When its latest download began.")
    finished_at: Time | None


class ExportPage(Shape):
    """A page of exports."""

    data: list[Export]
    next_cursor: str | None


class Part(Shape):
    """What of a workspace is in an export: a run of its chain without a hole, or all that has passed the filters."""

    workspace_id: Id
    rows: Count
    first_seq: int
    first_prev_hash: Hash = Field(description="What the first event's chain had come to in front of it.")
    first_hash: Hash
    last_seq: int
    last_hash: Hash


class Manifest(_Asked):
    """What an export came to."""

    job_id: Id
    rows: Count
    truncated: bool
    filtered: bool = Field(description="Events may be left out in between: each verifies, but together they are no chain.")
    bytes: Count = Field(description="Of the content, before any Content-Encoding.")
    sha256: Hash = Field(description="Of the same.")
    created_at: Time
    finished_at: Time
    workspaces: list[Part] = Field(description="In the order of the file. Of a workspace one for each unbroken run, unless it is filtered.")
