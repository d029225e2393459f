"""What is asked of the operator's routes: their bodies and parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.body import Body
from api.dashboard.wishes import Name
from api.parameters import UUID_PATTERN, Extracted, ListQuery, Outcome, Time
from schemas.event import FIRST_TIME, LAST_TIME
from schemas.plans import MOST_DAYS, PlanName
from schemas.restore import MOST_REASON, State
from schemas.topics import Region

_MOST = 2**31 - 1
Count = Annotated[int, Field(ge=0, le=_MOST)]
Days = Annotated[int, Field(ge=1, le=MOST_DAYS)]
Limit = Annotated[int, Field(ge=1, le=_MOST)]
RegionName = Literal["US", "EU", "UK", "AU"]
CompanyId = Annotated[str | None, Field(pattern=UUID_PATTERN, description="One company; an unknown one gives an empty page.")]
OneRegion = Annotated[Region | None, Field(description="One region; without it, all.")]


class CompanyWish(Body):
    """What a new company is to be."""

    name: Name
    region: RegionName = Field(description="Where it lives, for good.")
    plan: PlanName = Field("FREE", description="Its plan.")


class PlanWish(Body):
    """Which plan a company is to have."""

    plan: PlanName


class Overrides(Body):
    """What of its plan is to be otherwise for a company, in place of what was so before; what is left out is as the plan says."""

    hot_days: Days = Field(default_factory=int)
    archive_days: Days | None = Field(None, description="Null: no archive.")
    cold_after_days: Days | None = Field(None, description="Null: never.")
    export_rows: Limit | None = Field(None, description="Null: any number.")
    export_sources: list[Literal["HOT", "ARCHIVED", "HOT_AND_ARCHIVED"]] = Field(
        default_factory=list, json_schema_extra={"uniqueItems": True}
    )
    webhooks: Count = Field(default_factory=int)
    custom_categories: bool = Field(default_factory=bool)
    restore_tiers: list[Literal["EXPEDITED", "STANDARD", "BULK"]] = Field(default_factory=list, json_schema_extra={"uniqueItems": True})
    requests_per_minute: Limit | None = Field(None, description="Of one key; null: any number.")
    events_per_minute: Limit | None = Field(None, description="Null: any number.")

    def members(self) -> dict[str, Any]:
        """Those that were sent, by the names that plans have."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class CompanyQuery(ListQuery):
    """What a list of companies takes."""

    search: str | None = Field(
        None, min_length=1, max_length=200, pattern=r"^[^\x00]*$", description="In the name, upper and lower case alike; or a whole id."
    )
    plan: PlanName | None = Field(None, description="On this plan.")
    region: OneRegion = None


class AuditQuery(ListQuery):
    """What a list of the audit takes."""

    company_id: CompanyId = Field(None, alias="companyId")
    region: OneRegion = None
    start: Time = Field(FIRST_TIME, alias="from", description="From this time on (inclusive). RFC 3339 with an offset.")
    end: Time = Field(LAST_TIME + 1, alias="to", description="Up to this time (exclusive).")
    action: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9._:/-]{1,128}|[A-Za-z0-9._:/-]{0,127}\.\*)$",
        description="Exactly this action; `key.*` is every one of keys.",
    )
    outcome: Outcome | None = Field(None, description="DENIED: what was refused.")
    actor_id: Extracted = Field(None, alias="actorId", description="`actor.id`: a key's id, a user's, a job's name.")
    actor_email: Extracted = Field(None, alias="actorEmail", description="`actor.email`, of users.")
    target_id: Extracted = Field(None, alias="targetId", description="`resource.id`: what it was done to.")


class RestoreQuery(ListQuery):
    """What a list of all companies' restore requests takes."""

    company_id: CompanyId = Field(None, alias="companyId")
    region: OneRegion = None
    status: State | None = Field(None, description="Requests in this state; PENDING ones wait for a decision.")


Reason = Annotated[str, Field(min_length=1, max_length=MOST_REASON, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]


class RejectWish(Body):
    """Why a restore request is rejected."""

    reason: Reason


class CancelWish(Body):
    """Why a restore request is cancelled."""

    reason: Reason | None = None
