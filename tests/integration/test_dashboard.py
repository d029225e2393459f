"""The dashboard's tokens and limits, and what it alone has of a company: keys, workspaces, projects."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from ops.local.environment import Role
from ops.seed import Tenant
from tests.support.chains import Chain, store
from tests.support.desk import NOBODYS, Desk, desk_of
from tests.support.managing import Database, audit_workspace, told
from tests.support.serving import served
from tests.support.stack import LocalStack

ADMIN_TOKEN = "6b1f" * 16


@pytest.fixture
def desk(servers: LocalStack, api_client: httpx.AsyncClient) -> Desk:
    return Desk(api_client, servers.dashboard_token)


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
