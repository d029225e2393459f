"""What the dashboard's own routes answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.models import Id, Key, Limits, Shape, Time, Used

Region = Literal["US", "EU", "UK", "AU"]
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
