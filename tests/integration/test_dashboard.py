"""What the dashboard's own routes do: keys, workspaces, projects, companies of all regions, the audit, restore requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from ops.db import use_micros
from ops.local.environment import Role
from ops.seed import Tenant
from ops.settings import Settings
from schemas.topics import REGIONS, Region
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.managing import Database, audit_workspace, operator, told
from tests.support.neighbours import cold_archive
from tests.support.serving import served
from tests.support.stack import LocalStack

NOBODYS = "0190163d-8694-739b-aea5-966c26f8ad90"
NOWHERE = "postgresql://api_local:none@127.0.0.1:9/hyrelog"
ADMIN_TOKEN = "6b1f" * 16
ACTIONS = ("key.create", "key.revoke", "webhook.create")


@dataclass(frozen=True)
class Desk:
    """The dashboard's service, which vouches for whom it likes."""

    client: httpx.AsyncClient
    token: str

    async def ask(self, method: str, path: str, body: Any = None, *, company: UUID | str | None = None, **sent: str) -> httpx.Response:
        """A request of an admin of the company, or without one of an operator."""
        headers = {
            "x-dashboard-token": self.token,
            "x-user-id": "usr-7",
            "x-user-email": "grace@dashboard.example",
            "x-user-role": "HYRELOG_ADMIN" if company is None else "ADMIN",
            **({} if company is None else {"x-company-id": str(company)}),
            **{f"x-{name.replace('_', '-')}": value for name, value in sent.items()},
        }
        json = {} if body is None else {"json": body}
        return await self.client.request(method, f"/dashboard{path}", headers=headers, timeout=15, **json)

    async def told(self, method: str, path: str, body: Any = None, *, status: int = 200, **sent: Any) -> Any:
        """The JSON of an answer with that status."""
        answer = await self.ask(method, path, body, **sent)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def pages(self, path: str, limit: int = 2) -> list[Any]:
        """All rows of an operator's list, page by page."""
        rows: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.told("GET", f"{path}&limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
            assert page["unavailableRegions"] == []
            rows += page["data"]
            cursor = page["nextCursor"]
        return rows


@asynccontextmanager
async def desk_of(settings: Settings) -> AsyncIterator[Desk]:
    token = settings.dashboard_service_token
    assert token is not None
    async with served(create_app(settings)) as client:
        yield Desk(client, token.get_secret_value())


@pytest.fixture
async def desk(servers: LocalStack) -> AsyncIterator[Desk]:
    async with desk_of(servers.settings(Role.API)) as desk:
        yield desk


@pytest.fixture
def company(servers: LocalStack) -> Tenant:
    return servers.tenant()


async def _bearer(desk: Desk, path: str, key: str) -> httpx.Response:
    return await desk.client.get(path, headers={"Authorization": f"Bearer {key}"})


# --- tokens and limits ---------------------------------------------------------------------------


async def test_a_token_that_is_being_rotated_is_good_beside_the_new_one(servers: LocalStack, company: Tenant) -> None:
    settings = servers.settings(Role.API)
    old = settings.dashboard_service_token
    new = settings.model_copy(update={"dashboard_service_token": SecretStr("9a3e" * 16), "dashboard_service_token_previous": old})
    async with desk_of(new) as desk:
        for token in ("9a3e" * 16, old.get_secret_value() if old else ""):
            assert (await desk.ask("GET", "/company", company=company.id, dashboard_token=token)).status_code == 200


async def test_an_admin_token_is_the_only_one_that_is_good_for_admin_routes_and_good_for_nothing_else(
    servers: LocalStack, company: Tenant
) -> None:
    settings = servers.settings(Role.API).model_copy(update={"dashboard_admin_token": SecretStr(ADMIN_TOKEN)})
    async with desk_of(settings) as desk:
        assert (await desk.ask("GET", "/company", company=company.id)).status_code == 200
        assert (await desk.ask("GET", "/admin/plans")).status_code == 401
        assert (await desk.ask("GET", "/admin/plans", dashboard_token=ADMIN_TOKEN)).status_code == 200
        assert (await desk.ask("GET", "/company", company=company.id, dashboard_token=ADMIN_TOKEN)).status_code == 401


async def test_without_a_token_set_nobody_gets_in(servers: LocalStack, company: Tenant) -> None:
    settings = servers.settings(Role.API)
    async with served(create_app(settings.model_copy(update={"dashboard_service_token": None}))) as client:
        for token in ("", settings.internal_token.get_secret_value()):
            assert (await Desk(client, token).ask("GET", "/company", company=company.id)).status_code == 401


async def test_a_users_limit_is_his_own_and_one_companys(servers: LocalStack, company: Tenant) -> None:
    other = servers.tenant()
    async with desk_of(servers.settings(Role.API).model_copy(update={"dashboard_requests_per_minute": 2})) as desk:
        answers = [await desk.ask("GET", "/company", company=company.id) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await desk.ask("GET", "/company", company=company.id, user_id="usr-8")).status_code == 200
        assert (await desk.ask("GET", "/company", company=other.id)).status_code == 200


# --- a company's own -----------------------------------------------------------------------------


async def test_a_key_is_made_bound_rotated_and_revoked(desk: Desk, company: Tenant) -> None:
    made = await desk.told("POST", "/keys", {"name": "Auditors"}, status=201, company=company.id)
    assert (made["scope"], made["workspaceId"], made["ipAllowlist"]) == ("COMPANY", None, [])
    assert (await _bearer(desk, "/v1/keys/status", made["key"])).json()["id"] == made["id"]
    path = f"/keys/{made['id']}"
    bound = await desk.told("PUT", f"{path}/allowlist", {"ipAllowlist": ["192.0.2.7", "2001:db8::/48"]}, company=company.id)
    assert bound["ipAllowlist"] == ["192.0.2.7/32", "2001:db8::/48"]
    rotated = await desk.told("POST", f"{path}/rotate", {}, status=201, company=company.id)
    assert (rotated["ipAllowlist"], rotated["previous"]["id"]) == (bound["ipAllowlist"], made["id"])
    revoked = await desk.told("POST", f"/keys/{rotated['id']}/revoke", company=company.id)
    assert revoked["status"] == "REVOKED"
    assert (await _bearer(desk, "/v1/keys/status", rotated["key"])).status_code == 401
    again = await desk.ask("POST", f"/keys/{rotated['id']}/revoke", company=company.id)
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")
    listed = (await desk.told("GET", "/keys", company=company.id))["data"]
    assert {each["id"]: each["status"] for each in listed if each["id"] in (made["id"], rotated["id"])} == {
        made["id"]: "ROTATED",
        rotated["id"]: "REVOKED",
    }
    assert not any("key" in each for each in listed)


async def test_keys_are_paged(desk: Desk, company: Tenant) -> None:
    for number in range(3):
        await desk.told("POST", "/keys", {"name": f"Key {number}"}, status=201, company=company.id)
    whole = (await desk.told("GET", "/keys?limit=200", company=company.id))["data"]
    first = await desk.told("GET", "/keys?limit=3", company=company.id)
    rest = await desk.told("GET", f"/keys?limit=3&cursor={first['nextCursor']}", company=company.id)
    assert [*first["data"], *rest["data"]] == whole
    assert rest["nextCursor"] is None
    of_workspace = (await desk.told("GET", f"/keys?workspaceId={company.workspaces[0].id}", company=company.id))["data"]
    assert {each["workspaceId"] for each in of_workspace} == {str(company.workspaces[0].id)}


async def test_an_archived_workspace_gets_nothing_new_until_it_is_taken_back(desk: Desk, company: Tenant, superuser: Database) -> None:
    made = await desk.told("POST", "/workspaces", {"name": "Staging ☂"}, status=201, company=company.id)
    assert (made["name"], made["kind"], made["seq"]) == ("Staging ☂", "STANDARD", 0)
    archived = await desk.told("POST", f"/workspaces/{made['id']}/archive", company=company.id)
    assert archived["archivedAt"] is not None
    for path, body in (("/projects", {"name": "x"}), ("/keys", {"name": "x"})):
        refused = await desk.ask("POST", path, {**body, "workspaceId": made["id"]}, company=company.id)
        assert (refused.status_code, refused.json()["code"]) == (403, "WORKSPACE_ARCHIVED")
    assert (await desk.ask("POST", f"/workspaces/{made['id']}/archive", company=company.id)).status_code == 409
    await desk.told("POST", f"/workspaces/{made['id']}/unarchive", company=company.id)
    project = await desk.told("POST", "/projects", {"name": "Billing", "workspaceId": made["id"]}, status=201, company=company.id)
    assert project in (await desk.told("GET", "/projects", company=company.id))["data"]
    audit = await audit_workspace(superuser, company.id)
    assert (await desk.ask("POST", f"/workspaces/{audit}/archive", company=company.id)).status_code == 403


@pytest.mark.parametrize("path", ["/keys", "/projects", "/webhooks"])
async def test_a_foreign_workspace_in_a_body_and_one_that_is_nobodys_are_told_apart_by_nothing(
    desk: Desk, servers: LocalStack, company: Tenant, path: str
) -> None:
    body = {"name": "x"} if path != "/webhooks" else {"url": "https://hooks.example.com/", "events": ["AUDIT_EVENT_CREATED"]}
    foreign = servers.tenant().workspaces[0].id
    refusals = [
        (await desk.ask("POST", path, {**body, "workspaceId": str(each)}, company=company.id)).json() for each in (foreign, NOBODYS)
    ]
    assert [each.pop("traceId") for each in refusals]
    assert refusals[0] == refusals[1]
    assert refusals[0]["details"][0]["field"] == "workspaceId"


@pytest.mark.parametrize("name", ["", "x" * 201, "a\u0000b", "a\nb"])
async def test_a_name_is_checked(desk: Desk, company: Tenant, name: str) -> None:
    answer = await desk.ask("POST", "/workspaces", {"name": name}, company=company.id)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "name")


async def test_a_user_with_a_long_id_is_named_in_the_audit_all_the_same(desk: Desk, company: Tenant, superuser: Database) -> None:
    """Whatever the contract lets through must be storable as an event."""
    name = "ü" * 256
    sent = {"x-dashboard-token": desk.token, "x-user-email": "a@b.example", "x-user-role": "ADMIN", "x-company-id": str(company.id)}
    headers = [*((key.encode(), value.encode()) for key, value in sent.items()), (b"x-user-id", name.encode())]
    assert (await desk.client.get("/dashboard/company", headers=headers)).status_code == 200
    (entry,) = await told(superuser, company.id)
    assert (entry.actor["id"], entry.actor["idInFull"]) == ("ü" * 127, name)


async def test_an_export_is_downloaded_as_with_the_companys_key(desk: Desk, company: Tenant, superuser: Database) -> None:
    chain = Chain(str(company.id), str(company.workspaces[0].id))
    await store(superuser, chain, [chain.event() for _ in range(3)])
    job = (await desk.told("POST", "/exports", {"source": "HOT", "format": "JSONL"}, status=202, company=company.id))["jobId"]
    ours = await desk.ask("GET", f"/exports/{job}/download", company=company.id)
    theirs = await _bearer(desk, f"/v1/exports/{job}/download", company.key or "")
    assert ours.status_code == theirs.status_code == 200
    assert ours.content == theirs.content
    assert len(ours.content.splitlines()) == 3
    assert [entry.action for entry in await told(superuser, company.id)] == ["export.create", "export.download", "export.download"]


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


# --- restore requests ----------------------------------------------------------------------------


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
