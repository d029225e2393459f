"""What the operator's routes answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.dashboard.models import Company, PlanName, Region, RestoreRequest
from api.models import Event, Id, Limits, Shape, Time

Away = list[Region]


class CompanyRow(Shape):
    """A company of a list."""

    id: Id
    name: str
    region: Region
    plan: PlanName
    overrides: dict[str, Any] = Field(description="What of the plan is otherwise for this company.")
    created_at: Time


class CompanyPage(Shape):
    """A page of companies."""

    data: list[CompanyRow]
    next_cursor: str | None
    unavailable_regions: Away = Field(description="Those that could not be asked now.")


class ChangedCompany(Company):
    """A company as it is now."""

    disabled_webhooks: list[Id] = Field(description="Those that the plan has no room for any more.")


class Plan(Shape):
    """A plan."""

    name: PlanName
    limits: Limits


class PlanPage(Shape):
    """All plans."""

    data: list[Plan]
    next_cursor: None = Field(description="Always null: the list is whole.")


class AuditPage(Shape):
    """A page of the audit."""

    data: list[Event]
    next_cursor: str | None
    unavailable_regions: Away = Field(description="Those that could not be asked now.")


class OperatorRestoreRequestPage(Shape):
    """A page of all companies' restore requests."""

    data: list[RestoreRequest]
    next_cursor: str | None
    unavailable_regions: Away = Field(description="Those that could not be asked now.")
