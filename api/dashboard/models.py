"""What the dashboard's own routes answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.models import Id, Key, Limits, Shape, Time, Used

Region = Literal["US", "EU", "UK", "AU"]
Status = Literal["PENDING", "APPROVED", "INITIATING", "IN_PROGRESS", "COMPLETED", "EXPIRED", "REJECTED", "CANCELLED", "FAILED"]
PlanName = Literal["FREE", "STARTER", "GROWTH", "ENTERPRISE"]


class CompanyUsed(Used):
    """What there is of the company, without its AUDIT workspace."""

    webhooks: int = Field(ge=0, description="Enabled ones.")


class Company(Shape):
    """A company."""

    id: Id
    name: str
    region: Region
    plan: PlanName
    limits: Limits
    overrides: dict[str, Any] = Field(description="What of the plan is otherwise for this company.")
    used: CompanyUsed
    created_at: Time


class KeyPage(Shape):
    """A page of keys."""

    data: list[Key]
    next_cursor: str | None


class Archive(Shape):
    """An archive: a day of the company's events, or a part of one."""

    id: Id = Field(description="What `archiveIds` of RESTORE_REQUIRED name, and a restore request as `archiveId`.")
    archive_day: str = Field(json_schema_extra={"format": "date"})
    part: int = Field(ge=1)
    archive_key: str = Field(description="The object's name.")
    rows: str = Field(pattern="^[0-9]+$")
    size_bytes: int
    archived_at: Time
    verified_at: Time | None
    kept_until: Time = Field(description="From then on it may be removed.")
    is_cold_archived: bool = Field(description="Whether it has to be restored before it can be read.")
    restored_until: Time | None = Field(description="Until when it can be read though it is cold; null: it was not restored.")


class ArchivePage(Shape):
    """A page of archives."""

    data: list[Archive]
    next_cursor: str | None


class Person(Shape):
    """Who asked, or decided."""

    id: str
    email: str | None


class Estimate(Shape):
    """What a restoration is expected to cost and take, by list prices: no invoice."""

    cost_usd: str = Field(pattern=r"^[0-9]+\.[0-9]{6}$", description="Dollars.")
    currency: Literal["USD"]
    prices_as_of: str = Field(json_schema_extra={"format": "date"}, description="The day of the prices.")
    earliest_seconds: int
    latest_seconds: int


class RestoreRequest(Shape):
    """A request to have a cold archive restored."""

    id: Id
    company_id: Id
    archive_id: Id
    archive_key: str
    tier: Literal["EXPEDITED", "STANDARD", "BULK"]
    days: int = Field(ge=1, le=30)
    status: Status
    reason: str | None = Field(description="Of rejecting, cancelling or failing.")
    requested_by: Person
    requested_at: Time
    decided_by: Person | None = Field(description="Who decided last.")
    decided_at: Time | None
    size_bytes: int
    estimate: Estimate
    initiated_at: Time | None = Field(description="When S3 was asked.")
    completed_at: Time | None
    restored_until: Time | None = Field(description="Until when the archive can be read.")
    expired_at: Time | None


class RestoreRequestPage(Shape):
    """A page of restore requests."""

    data: list[RestoreRequest]
    next_cursor: str | None
