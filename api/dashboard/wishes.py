"""What is asked of the dashboard's own routes: their bodies and parameters. Where a path of /v1 names a workspace, a body does here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.body import Body, Listed
from api.keys import MAX_NETWORKS, KeyWish
from api.parameters import ListQuery, WorkspaceId
from api.webhooks.wishes import Id, WebhookWish
from schemas import names
from schemas.restore import DEFAULT_DAYS, LEAST_DAYS, MOST_DAYS, State

Name = Annotated[str, Field(min_length=1, max_length=names.MOST, pattern=names.PATTERN, description="For people.")]


class CompanyKeyWish(KeyWish):
    """What a new key is to be."""

    workspace_id: Id | None = Field(None, description="The workspace that it is for; null: a company key.")


class AllowlistWish(Body):
    """From where a key is to be good."""

    ip_allowlist: list[Listed] = Field(max_length=MAX_NETWORKS, description="Addresses and networks; empty: it may be used from anywhere.")


class WorkspaceWish(Body):
    """What a new workspace is to be."""

    name: Name


class ProjectWish(Body):
    """What a new project is to be."""

    workspace_id: Id = Field(description="A workspace of the company.")
    name: Name


class PlacedWebhookWish(WebhookWish):
    """What a new webhook is to be, and where."""

    workspace_id: Id = Field(description="A workspace of the company.")


class PlacedQuery(ListQuery):
    """What a list of what workspaces have takes."""

    workspace_id: WorkspaceId = Field(None, alias="workspaceId")


class RestoreWish(Body):
    """Which archive is to be restored, how fast, and for how long."""

    archive_id: Id = Field(description="A cold archive of the company.")
    tier: Literal["EXPEDITED", "STANDARD", "BULK"] = Field("STANDARD", description="EXPEDITED: minutes, STANDARD: hours, BULK: half a day.")
    days: int = Field(DEFAULT_DAYS, ge=LEAST_DAYS, le=MOST_DAYS, description="How long it is to be readable.")


class RestoreQuery(ListQuery):
    """What a list of restore requests takes."""

    status: State | None = Field(None, description="Requests in this state.")
