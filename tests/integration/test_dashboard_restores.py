"""Restore requests at the dashboard: asked for, taken back, decided."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ops.seed import Tenant
from tests.support.desk import NOBODYS, Desk
from tests.support.managing import Database, told
from tests.support.neighbours import cold_archive
from tests.support.stack import LocalStack


@pytest.fixture
def desk(servers: LocalStack, api_client: httpx.AsyncClient) -> Desk:
    return Desk(api_client, servers.dashboard_token)


@pytest.fixture
def company(servers: LocalStack) -> Tenant:
    return servers.tenant()


async def test_a_restore_request_goes_from_asking_to_a_decision(desk: Desk, company: Tenant, superuser: Database) -> None:
    archive = await cold_archive(superuser, company.id, 1)
    made = await desk.told("POST", "/restore-requests", {"archiveId": archive, "days": 3}, status=201, company=company.id)
    assert (made["status"], made["tier"], made["days"], made["requestedBy"]["id"]) == ("PENDING", "STANDARD", 3, "usr-7")
    assert made["estimate"]["latestSeconds"] >= made["estimate"]["earliestSeconds"] > 0
    again = await desk.ask("POST", "/restore-requests", {"archiveId": archive}, company=company.id)
    assert (again.status_code, made["id"] in again.json()["error"]) == (409, True)
    path = f"/admin/restore-requests/{made['id']}"
    own = await desk.ask("POST", f"{path}/approve")
    assert (own.status_code, own.json()["code"]) == (403, "FORBIDDEN")
    assert (await desk.ask("POST", f"{path}/approve", user_id="usr-9", user_email="GRACE@dashboard.example")).status_code == 403
    approved = await desk.told("POST", f"{path}/approve", user_id="usr-9", user_email="ada@hyrelog.example")
    assert (approved["status"], approved["decidedBy"]["id"]) == ("APPROVED", "usr-9")
    assert (await desk.ask("POST", f"{path}/reject", {"reason": "Too late."}, user_id="usr-9")).status_code == 409
    assert (await desk.ask("DELETE", f"/restore-requests/{made['id']}", company=company.id)).status_code == 409
    cancelled = await desk.told("POST", f"{path}/cancel", {"reason": "Asked by phone."}, user_id="usr-9")
    assert (cancelled["status"], cancelled["reason"]) == ("CANCELLED", "Asked by phone.")
    entries = [(entry.action, entry.outcome) for entry in await told(superuser, company.id)]
    assert entries == [
        ("restore.request", "SUCCESS"),
        ("restore.request", "DENIED"),
        ("restore.approve", "DENIED"),
        ("restore.approve", "DENIED"),
        ("restore.approve", "SUCCESS"),
        ("restore.reject", "DENIED"),
        ("restore.cancel", "DENIED"),
        ("restore.cancel", "SUCCESS"),
    ]


async def test_a_request_is_rejected_with_a_reason_and_may_be_made_again(desk: Desk, company: Tenant, superuser: Database) -> None:
    archive = await cold_archive(superuser, company.id, 1)
    made = await desk.told("POST", "/restore-requests", {"archiveId": archive}, status=201, company=company.id)
    for wrong in ({}, {"reason": ""}, {"reason": " "}, {"reason": "x" * 501}):
        refused = await desk.ask("POST", f"/admin/restore-requests/{made['id']}/reject", wrong)
        assert (refused.status_code, refused.json()["details"][0]["field"]) == (400, "reason")
    rejected = await desk.told("POST", f"/admin/restore-requests/{made['id']}/reject", {"reason": "Ask for less."})
    assert (rejected["status"], rejected["reason"]) == ("REJECTED", "Ask for less.")
    again = await desk.told("POST", "/restore-requests", {"archiveId": archive}, status=201, company=company.id)
    await desk.told("DELETE", f"/restore-requests/{again['id']}", company=company.id)
    listed = await desk.told("GET", "/restore-requests", company=company.id)
    assert [(each["id"], each["status"]) for each in listed["data"]] == [(again["id"], "CANCELLED"), (made["id"], "REJECTED")]
    everybodys = await desk.pages(f"/admin/restore-requests?companyId={company.id}", limit=1)
    assert everybodys == listed["data"]


@pytest.mark.parametrize(("wish", "field"), [({"days": 0}, "days"), ({"days": 31}, "days"), ({"tier": "SOON"}, "tier"), ({"x": 1}, "x")])
async def test_a_wish_for_a_restoration_is_checked(desk: Desk, company: Tenant, superuser: Database, wish: Any, field: str) -> None:
    archive = await cold_archive(superuser, company.id, 1)
    answer = await desk.ask("POST", "/restore-requests", {"archiveId": archive, **wish}, company=company.id)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)


async def test_an_archive_whose_age_has_come_can_be_asked_for_before_it_is_marked(desk: Desk, company: Tenant, superuser: Database) -> None:
    """The store moves it at that age, the marker comes by weekly."""
    young, old = [await cold_archive(superuser, company.id, part) for part in (1, 2)]
    await superuser.execute("UPDATE archive_part SET is_cold_archived = false, cold_archive_key = NULL WHERE id IN ($1, $2)", young, old)
    await superuser.execute("UPDATE archive_part SET archived_at = archived_at - interval '181 days' WHERE id = $1", old)
    refused = await desk.ask("POST", "/restore-requests", {"archiveId": young}, company=company.id)
    assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
    await desk.told("POST", "/restore-requests", {"archiveId": old}, status=201, company=company.id)


async def test_a_plan_says_which_tiers_there_are(desk: Desk, servers: LocalStack, superuser: Database) -> None:
    company = servers.tenant(plan="GROWTH", overrides={})
    archive = await cold_archive(superuser, company.id, 1)
    refused = await desk.ask("POST", "/restore-requests", {"archiveId": archive, "tier": "EXPEDITED"}, company=company.id)
    assert (refused.status_code, refused.json()["code"]) == (403, "PLAN_RESTRICTED")
    await desk.told("POST", f"/admin/companies/{company.id}/plan", {"plan": "ENTERPRISE"})
    made = await desk.told("POST", "/restore-requests", {"archiveId": archive, "tier": "EXPEDITED"}, status=201, company=company.id)
    await desk.told("POST", f"/admin/companies/{company.id}/plan", {"plan": "GROWTH"})
    approving = {"user_id": "usr-9", "user_email": "ada@hyrelog.example"}
    refused = await desk.ask("POST", f"/admin/restore-requests/{made['id']}/approve", **approving)
    assert (refused.status_code, refused.json()["code"]) == (403, "PLAN_RESTRICTED")


async def test_another_companys_archive_and_one_that_is_nobodys_are_told_apart_by_nothing(
    desk: Desk, servers: LocalStack, company: Tenant, superuser: Database
) -> None:
    foreign = await cold_archive(superuser, servers.tenant().id, 1)
    answers = [await desk.ask("POST", "/restore-requests", {"archiveId": each}, company=company.id) for each in (foreign, NOBODYS)]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json()["details"] == answers[1].json()["details"]
    assert answers[0].json()["details"][0]["field"] == "archiveId"
