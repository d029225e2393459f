"""The examples of ``/dashboard/*``: the story's company, as its people and the operator's see it."""

from __future__ import annotations

from typing import Any, Final

from api.story import ARCHIVE, COMPANY, CREATED, CURSOR, LATER, OPERATOR, OPERATORS_EMAIL, RESTORE, USER, USERS_EMAIL, WEBHOOK, WORKSPACE
from ops.restore.rows import Person, RestoreRequest
from schemas.incoming import parse_time
from schemas.openapi import Json
from schemas.restore import DEFAULT_DAYS, State, Tier, estimate
from schemas.topics import Region

_NAME: Final = "Example Ltd"
_PLAN: Final = "GROWTH"
_OVERRIDES: Final[Json] = {"hotDays": 120}
_NOTHING: Final[Json] = {"events": 0, "workspaces": 0, "projects": 0, "keys": 0, "webhooks": 0}
_REASON: Final = "The archive is needed for no case that we know of."
_OBJECT: Final = f"archives/{COMPANY}/2025/07/31/events.jsonl.gz"
_SIZE: Final = 734_003_200
_ASKED: Final = "2026-01-31T09:40:00.000000Z"
_DECIDED: Final = "2026-01-31T09:44:12.907331Z"
_BY_OPERATOR: Final[Json] = {"decidedBy": {"id": OPERATOR, "email": OPERATORS_EMAIL}, "decidedAt": _DECIDED}
_BY_USER: Final[Json] = {"decidedBy": {"id": USER, "email": USERS_EMAIL}, "decidedAt": _DECIDED}
_MISSING: Final = "Field required"
FINDINGS: Final[dict[str, Json]] = {
    "post /dashboard/keys": {"field": "name", "message": _MISSING},
    "put /dashboard/keys/{id}/allowlist": {"field": "ipAllowlist", "message": _MISSING},
    "post /dashboard/workspaces": {"field": "name", "message": _MISSING},
    "post /dashboard/projects": {"field": "workspaceId", "message": _MISSING},
    "post /dashboard/webhooks": {"field": "url", "message": _MISSING},
    "post /dashboard/restore-requests": {"field": "archiveId", "message": _MISSING},
    "post /dashboard/admin/restore-requests/{id}/reject": {"field": "reason", "message": _MISSING},
    "post /dashboard/admin/restore-requests/{id}/cancel": {"field": "reason", "message": "String should have at least 1 character"},
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
        **_restoring(),
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


def _restoring() -> Json:
    """By the names of the shapes, those of archives and restore requests."""
    request = _request()
    archive = {
        "id": ARCHIVE,
        "archiveDay": "2025-07-31",
        "part": 1,
        "archiveKey": _OBJECT,
        "rows": "2048000",
        "sizeBytes": _SIZE,
        "archivedAt": "2025-08-01T02:14:09.118204Z",
        "verifiedAt": "2025-08-02T03:00:41.530118Z",
        "keptUntil": "2026-07-31T00:00:00.000000Z",
        "isColdArchived": True,
        "restoredUntil": None,
    }
    return {
        "ArchivePage": {"data": [archive], "nextCursor": None},
        "RestoreWish": {"archiveId": ARCHIVE, "tier": "STANDARD", "days": DEFAULT_DAYS},
        "RestoreRequest": request,
        "RestoreRequestPage": {"data": [request], "nextCursor": None},
        "OperatorRestoreRequestPage": {"data": [request], "nextCursor": None, "unavailableRegions": []},
        "RejectWish": {"reason": _REASON},
        "CancelWish": {"reason": _REASON},
    }


def _request() -> Json:
    """A request that waits for its decision."""
    made = RestoreRequest(
        id=RESTORE,
        company_id=COMPANY,
        part_id=ARCHIVE,
        archive_key=_OBJECT,
        size=_SIZE,
        tier=Tier.STANDARD,
        days=DEFAULT_DAYS,
        estimate=estimate(Region.US, Tier.STANDARD, _SIZE, DEFAULT_DAYS),
        state=State.PENDING,
        reason=None,
        requested_by=Person(USER, USERS_EMAIL),
        requested_at=parse_time(_ASKED),
        decided_by=None,
        decided_at=None,
        initiated_at=None,
        completed_at=None,
        restored_until=None,
        expired_at=None,
    )
    return made.shown()


def of_operation(shapes: Json) -> dict[tuple[str, Any], Json]:
    """Answers that are not as others of their shape: by operation and shape."""
    changed: Json = shapes["ChangedCompany"]
    overridden = {"limits": changed["limits"] | _OVERRIDES, "overrides": _OVERRIDES, "disabledWebhooks": []}
    asked: Json = shapes["RestoreRequest"]
    decided = "/dashboard/admin/restore-requests/{id}"
    return {
        ("delete /dashboard/restore-requests/{id}", "RestoreRequest"): asked | {"status": "CANCELLED", **_BY_USER},
        (f"post {decided}/approve", "RestoreRequest"): asked | {"status": "APPROVED", **_BY_OPERATOR},
        (f"post {decided}/reject", "RestoreRequest"): asked | {"status": "REJECTED", "reason": _REASON, **_BY_OPERATOR},
        (f"post {decided}/cancel", "RestoreRequest"): asked | {"status": "CANCELLED", "reason": _REASON, **_BY_OPERATOR},
        ("post /dashboard/keys/{id}/revoke", "Key"): shapes["Key"] | {"status": "REVOKED"},
        ("put /dashboard/keys/{id}/allowlist", "Key"): shapes["Key"] | shapes["AllowlistWish"],
        ("post /dashboard/workspaces", "Workspace"): shapes["Workspace"] | shapes["WorkspaceWish"] | {"seq": 0},
        ("post /dashboard/workspaces/{id}/archive", "Workspace"): shapes["Workspace"] | {"archivedAt": LATER},
        ("post /dashboard/admin/companies", "Company"): shapes["Company"] | {"used": _NOTHING},
        ("put /dashboard/admin/companies/{id}/overrides", "ChangedCompany"): changed | overridden,
    }
