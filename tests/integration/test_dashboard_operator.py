"""What the operator's people do at the dashboard: companies of all regions, plans, the audit."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from ops.db import use_micros
from ops.local.environment import Role
from ops.seed import Tenant
from schemas.topics import REGIONS, Region
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.desk import NOBODYS, NOWHERE, Desk, desk_of
from tests.support.managing import Database, audit_workspace, operator, told
from tests.support.stack import LocalStack

ACTIONS = ("key.create", "key.revoke", "webhook.create")


@pytest.fixture
def desk(servers: LocalStack, api_client: httpx.AsyncClient) -> Desk:
    return Desk(api_client, servers.dashboard_token)


@pytest.fixture
def company(servers: LocalStack) -> Tenant:
    return servers.tenant()


# --- companies of all regions --------------------------------------------------------------------


async def test_companies_of_all_regions_are_found_and_paged(desk: Desk) -> None:
    mark = uuid4().hex[:8]
    made = [
        await desk.told("POST", "/admin/companies", {"name": f"{mark} 100%_{each}", "region": region, "plan": plan}, status=201)
        for each, (region, plan) in enumerate(zip((*REGIONS, Region.EU), ("FREE", "STARTER", "GROWTH", "ENTERPRISE", "FREE"), strict=True))
    ]
    found = await desk.pages(f"/admin/companies?search={mark.upper()}")
    assert [each["id"] for each in found] == [each["id"] for each in reversed(made)]
    assert [each["region"] for each in found] == ["EU", "AU", "UK", "EU", "US"]
    assert [each["id"] for each in await desk.pages(f"/admin/companies?search={mark}&region=EU")] == [made[4]["id"], made[1]["id"]]
    assert [each["id"] for each in await desk.pages(f"/admin/companies?search={mark}&plan=FREE")] == [made[4]["id"], made[0]["id"]]
    assert [each["id"] for each in await desk.pages(f"/admin/companies?search={made[2]['id']}")] == [made[2]["id"]]
    assert len(await desk.pages(f"/admin/companies?search={mark}%20100%25_")) == 5
    assert await desk.pages(f"/admin/companies?search={mark}%20_00") == []
    assert (await desk.told("GET", f"/admin/companies/{made[0]['id']}"))["plan"] == "FREE"


async def test_a_smaller_plan_says_which_webhooks_it_disables_and_overrides_are_put_whole(
    desk: Desk, servers: LocalStack, superuser: Database
) -> None:
    company = servers.tenant(plan="GROWTH", overrides={})
    wish = {"url": "https://hooks.example.com/", "events": ["AUDIT_EVENT_CREATED"], "workspaceId": str(company.workspaces[0].id)}
    hooks = [(await desk.told("POST", "/webhooks", wish, status=201, company=company.id))["id"] for _ in range(3)]
    path = f"/admin/companies/{company.id}"
    changed = await desk.told("PUT", f"{path}/overrides", {"webhooks": 1, "exportRows": None, "restoreTiers": ["BULK"]})
    assert sorted(changed["disabledWebhooks"]) == sorted(hooks[1:])
    assert changed["limits"]["exportRows"] is None
    assert (await desk.told("PUT", f"{path}/overrides", {"hotDays": 5}))["overrides"] == {"hotDays": 5}
    changed = await desk.told("POST", f"{path}/plan", {"plan": "STARTER"})
    assert (changed["plan"], changed["limits"]["hotDays"], changed["disabledWebhooks"]) == ("STARTER", 5, [hooks[0]])
    assert (await desk.told("PUT", f"{path}/overrides", {}))["limits"]["hotDays"] == 30
    entries = [(entry.action, entry.actor["role"]) for entry in await told(superuser, company.id) if entry.action.startswith("company.")]
    assert entries == [(f"company.{action}", "HYRELOG_ADMIN") for action in ("override", "override", "plan", "override")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"hotDays": 0}, "hotDays"),
        ({"archiveDays": 36_501}, "archiveDays"),
        ({"hotDays": None}, "hotDays"),
        ({"webhooks": -1}, "webhooks"),
        ({"extra": 1}, "extra"),
        ({"exportSources": ["HOT", "HOT"]}, "exportSources"),
        ({"customCategories": 1}, "customCategories"),
        ({"exportRows": 1.5}, "exportRows"),
    ],
)
async def test_overrides_that_no_plan_could_have_are_refused_by_name(desk: Desk, company: Tenant, body: Any, field: str) -> None:
    answer = await desk.ask("PUT", f"/admin/companies/{company.id}/overrides", body)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)


async def test_a_region_that_is_down_is_named_and_the_others_are_answered(servers: LocalStack, company: Tenant) -> None:
    """Also when it is the first one, which else holds what is nobody's."""
    abroad = servers.tenant(Region.EU)
    settings = servers.settings(Role.API).model_copy(update={"database_url_us": SecretStr(NOWHERE)})
    async with desk_of(settings) as desk:
        lists = ("/admin/companies", "/admin/audit-logs", "/admin/restore-requests")
        of_one = [f"{path}?companyId={each}" for path in lists[1:] for each in (company.id, NOBODYS)]
        for path in (*lists, *of_one):
            page = await desk.told("GET", path)
            assert page["unavailableRegions"] == ["US"]
        assert str(abroad.id) in [each["id"] for each in (await desk.told("GET", "/admin/companies?limit=200&region=EU"))["data"]]
        assert len((await desk.told("GET", "/admin/plans"))["data"]) == 4
        assert (await desk.ask("GET", "/company", company=abroad.id)).status_code == 200
        for refused in (
            await desk.ask("GET", "/company", company=company.id),  # which may be there
            await desk.ask("POST", "/admin/companies", {"name": "x", "region": "US"}),
            await desk.ask("POST", f"/admin/restore-requests/{NOBODYS}/approve"),
            await desk.ask("GET", "/admin/companies?region=US"),
        ):
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
            assert "US" in refused.json()["error"]
            assert int(refused.headers["retry-after"]) >= 1


# --- the audit -----------------------------------------------------------------------------------


async def test_the_audit_of_all_companies_is_listed_filtered_and_paged(
    desk: Desk, servers: LocalStack, company: Tenant, superuser: Database
) -> None:
    abroad = servers.tenant(Region.EU)
    actor = uuid4().hex
    person = b'{"email":"grace@%b.example","id":"%b","type":"user"}' % (actor[:8].encode(), actor.encode())
    eu = await asyncpg.connect(servers.superuser_url(Region.EU))
    await use_micros(eu)
    for number, (database, tenant) in enumerate([(superuser, company), (eu, abroad)]):
        chain = Chain(str(tenant.id), str(await audit_workspace(database, tenant.id)), tenant.region)
        events = [
            chain.event(
                at=BASE_TIME + (2 * each + number) * SECOND, category="admin", action=action, actor=person, resource=b'{"id":"k-1"}'
            )
            for each, action in enumerate(("key.create", "key.revoke", "webhook.create"))
        ]
        await store(database, chain, events)
    own = Chain(str(company.id), str(company.workspaces[0].id))
    await store(superuser, own, [own.event(at=BASE_TIME, category="admin", action="key.create", actor=person)])
    await eu.close()
    found = await desk.pages(f"/admin/audit-logs?actorId={actor}")
    assert [each["action"] for each in found] == [
        "webhook.create",
        "webhook.create",
        "key.revoke",
        "key.revoke",
        "key.create",
        "key.create",
    ]
    assert [each["dataRegion"] for each in found] == ["EU", "US"] * 3
    assert len(await desk.pages(f"/admin/audit-logs?actorId={actor}&action=key.*")) == 4
    assert len(await desk.pages(f"/admin/audit-logs?actorId={actor}&action=key_revoke".replace("_", "."))) == 2
    assert {each["companyId"] for each in await desk.pages(f"/admin/audit-logs?actorId={actor}&companyId={abroad.id}")} == {str(abroad.id)}
    assert len(await desk.pages(f"/admin/audit-logs?actorEmail=grace@{actor[:8]}.example&region=US&targetId=k-1")) == 3
    assert len(await desk.pages(f"/admin/audit-logs?actorId={actor}&from=2026-01-01T00:00:02Z&to=2026-01-01T00:00:04Z")) == 2
    assert await desk.pages(f"/admin/audit-logs?companyId={NOBODYS}") == []
    assert await desk.pages(f"/admin/audit-logs?actorId={actor}&outcome=DENIED") == []


async def test_who_is_looked_at_is_told(desk: Desk, company: Tenant, superuser: Database) -> None:
    """What an operator reads of one company stands in that company's audit."""
    await desk.told("GET", f"/admin/audit-logs?companyId={company.id}&actorEmail=grace@dashboard.example")
    await desk.told("GET", f"/admin/restore-requests?companyId={company.id}")
    entries = [(entry.action, entry.metadata) for entry in await told(superuser, company.id)]
    assert entries == [("audit.list", {"parameters": ["actorEmail", "companyId"]}), ("restore.list", {"parameters": ["companyId"]})]


async def test_a_call_that_fails_on_our_side_is_told_too(desk: Desk, company: Tenant, superuser: Database) -> None:
    """Or whatever makes one fail could be tried unseen."""
    await superuser.execute("REVOKE SELECT ON archive_part FROM hyrelog_api")
    try:
        assert (await desk.ask("GET", "/archives", company=company.id)).status_code == 500
    finally:
        await superuser.execute("GRANT SELECT ON archive_part TO hyrelog_api")
    (entry,) = await told(superuser, company.id)
    assert (entry.action, entry.outcome, entry.metadata) == ("archive.list", "FAILURE", {"status": 500, "code": "INTERNAL_ERROR"})


async def test_what_can_not_be_answered_now_is_told_too(servers: LocalStack, company: Tenant, superuser: Database) -> None:
    locker = await asyncpg.connect(servers.superuser_url())
    try:
        async with desk_of(servers.settings(Role.API).model_copy(update={"statement_timeout_seconds": 0.3})) as desk, locker.transaction():
            await locker.execute("LOCK TABLE archive_part IN ACCESS EXCLUSIVE MODE")
            assert (await desk.ask("GET", "/archives", company=company.id)).status_code == 503
    finally:
        await locker.close()
    (entry,) = await told(superuser, company.id)
    assert (entry.action, entry.outcome, entry.metadata) == ("archive.list", "FAILURE", {"status": 503, "code": "UNAVAILABLE"})


async def test_a_statement_that_takes_too_long_is_no_region_that_is_away(servers: LocalStack) -> None:
    settings = servers.settings(Role.API).model_copy(update={"statement_timeout_seconds": 0.3})
    locker = await asyncpg.connect(servers.superuser_url())
    try:
        async with desk_of(settings) as desk, locker.transaction():
            await locker.execute("LOCK TABLE restore_request IN ACCESS EXCLUSIVE MODE")
            answer = await desk.ask("GET", "/admin/restore-requests")
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
            assert "too long" in answer.json()["error"]
    finally:
        await locker.close()


async def test_nobody_is_redirected(desk: Desk) -> None:
    """An address made of the Host that was sent would be anybody's."""
    answer = await desk.client.get("/dashboard/company/", headers={"host": "evil.example"})
    assert answer.status_code == 404


async def test_what_is_not_the_audits_is_out_of_an_operators_reach(servers: LocalStack, company: Tenant, superuser: Database) -> None:
    """In the role of his routes, whatever the statement."""
    own = Chain(str(company.id), str(company.workspaces[0].id))
    await store(superuser, own, [own.event()])
    connection = await asyncpg.connect(servers.settings(Role.API).database_url(Region.US))
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE hyrelog_dashboard")
            assert await connection.fetchval("SELECT count(*) FROM events WHERE workspace_id = $1", company.workspaces[0].id) == 0
    finally:
        await connection.close()


async def test_an_action_that_can_not_be_written_down_is_not_done(desk: Desk, company: Tenant, superuser: Database) -> None:
    """Nor is what was read told."""
    await superuser.execute("REVOKE INSERT ON audit_outbox FROM hyrelog_api")
    try:
        assert (await desk.ask("GET", "/company", company=company.id)).status_code == 500
        assert (await desk.ask("POST", "/workspaces", {"name": "Unseen"}, company=company.id)).status_code == 500
    finally:
        await superuser.execute("GRANT INSERT ON audit_outbox TO hyrelog_api")
    assert await superuser.fetchval("SELECT count(*) FROM workspace WHERE company_id = $1 AND name = 'Unseen'", company.id) == 0
    assert await told(superuser, company.id) == []


async def test_nothing_of_the_operators_own_is_listed_as_a_customer(desk: Desk, superuser: Database) -> None:
    own = str(await operator(superuser))
    assert (await desk.told("GET", f"/admin/companies?search={own}"))["data"] == []
