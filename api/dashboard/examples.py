"""The examples of ``/dashboard/*``: the story's company, as its people and the operator's see it."""

from __future__ import annotations

from typing import Any, Final

from api.story import COMPANY, CREATED, CURSOR, LATER, WEBHOOK, WORKSPACE
from schemas.openapi import Json

_NAME: Final = "Example Ltd"
_PLAN: Final = "GROWTH"
_OVERRIDES: Final[Json] = {"hotDays": 120}
_NOTHING: Final[Json] = {"events": 0, "workspaces": 0, "projects": 0, "keys": 0, "webhooks": 0}
_MISSING: Final = "Field required"
FINDINGS: Final[dict[str, Json]] = {
    "post /dashboard/keys": {"field": "name", "message": _MISSING},
    "put /dashboard/keys/{id}/allowlist": {"field": "ipAllowlist", "message": _MISSING},
    "post /dashboard/workspaces": {"field": "name", "message": _MISSING},
    "post /dashboard/projects": {"field": "workspaceId", "message": _MISSING},
    "post /dashboard/webhooks": {"field": "url", "message": _MISSING},
    "post /dashboard/admin/companies": {"field": "region", "message": _MISSING},
    "post /dashboard/admin/companies/{id}/plan": {"field": "plan", "message": _MISSING},
    "put /dashboard/admin/companies/{id}/overrides": {"field": "webhooks", "message": "Input should be greater than or equal to 0"},
}


def shapes(others: Json, entry: Json) -> Json:
    """By the names of the shapes. ``others`` are those that /v1 has too, ``entry`` is an event of the audit."""
    limits = others["Usage"]["limits"]
    company = {
        "id": COMPANY,
        "name": _NAME,
        "region": "US",
        "plan": _PLAN,
        "limits": limits,
        "overrides": {},
        "used": others["Usage"]["used"] | {"webhooks": 1},
        "createdAt": CREATED,
    }
    row = {name: company[name] for name in ("id", "name", "region", "plan", "overrides", "createdAt")}
    return {
        "Company": company,
        "KeyPage": {"data": [others["Key"]], "nextCursor": None},
        "CompanyKeyWish": others["KeyWish"] | {"workspaceId": WORKSPACE},
        "AllowlistWish": {"ipAllowlist": ["203.0.113.0/24", "2001:db8::/32"]},
        "WorkspaceWish": {"name": "Staging"},
        "ProjectWish": {"workspaceId": WORKSPACE, "name": "Main App"},
        "PlacedWebhookWish": others["WebhookWish"] | {"workspaceId": WORKSPACE},
        "CompanyWish": {"name": _NAME, "region": "US", "plan": _PLAN},
        "PlanWish": {"plan": _PLAN},
        "Overrides": _OVERRIDES,
        "CompanyPage": {"data": [row], "nextCursor": CURSOR, "unavailableRegions": ["AU"]},
        "ChangedCompany": company | {"disabledWebhooks": [WEBHOOK]},
        "PlanPage": {"data": [{"name": _PLAN, "limits": limits}], "nextCursor": None},
        "AuditPage": {"data": [entry], "nextCursor": CURSOR, "unavailableRegions": []},
    }


def of_operation(shapes: Json) -> dict[tuple[str, Any], Json]:
    """Answers that are not as others of their shape: by operation and shape."""
    changed: Json = shapes["ChangedCompany"]
    overridden = {"limits": changed["limits"] | _OVERRIDES, "overrides": _OVERRIDES, "disabledWebhooks": []}
    return {
        ("post /dashboard/keys/{id}/revoke", "Key"): shapes["Key"] | {"status": "REVOKED"},
        ("put /dashboard/keys/{id}/allowlist", "Key"): shapes["Key"] | shapes["AllowlistWish"],
        ("post /dashboard/workspaces", "Workspace"): shapes["Workspace"] | shapes["WorkspaceWish"] | {"seq": 0},
        ("post /dashboard/workspaces/{id}/archive", "Workspace"): shapes["Workspace"] | {"archivedAt": LATER},
        ("post /dashboard/admin/companies", "Company"): shapes["Company"] | {"used": _NOTHING},
        ("put /dashboard/admin/companies/{id}/overrides", "ChangedCompany"): changed | overridden,
    }
