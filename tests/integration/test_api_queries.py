"""``GET /v1/events`` with filters and words, by stored order, and what there is to filter by: workspaces, projects, usage, categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import httpx
import pytest

from ops.seed import Tenant
from schemas.event import StoredEvent, format_time
from schemas.plans import STANDARD_CATEGORIES
from tests.support import searching
from tests.support.chains import Chain, store
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Parameters = dict[str, str | int]
NOBODYS = "0190163d-8694-739b-aea5-966c26f8ad90"
TRACE = "1" * 32


@dataclass(frozen=True)
class Site:
    """The API over a company of two workspaces, and three searchable events in the first: plain, rich, plain."""

    client: httpx.AsyncClient
    tenant: Tenant
    chain: Chain
    events: list[StoredEvent]
    superuser: Database

    @property
    def workspace(self) -> str:
        return self.chain.workspace_id

    async def get(self, path: str, key: str | None = None, /, **parameters: str | int) -> httpx.Response:
        return await self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {key or self.tenant.workspaces[0].key}"})

    async def page(self, path: str, key: str | None = None, /, **parameters: str | int) -> dict[str, Any]:
        answer = await self.get(path, key, **parameters)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def places(self, key: str | None = None, **parameters: str | int) -> list[int]:
        """The seqs found, in order."""
        return sorted(event["seq"] for event in (await self.page("/v1/events", key, **parameters))["data"])


@pytest.fixture
async def site(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> Site:
    tenant = servers.tenant(workspaces=2)
    workspace = tenant.workspaces[0]
    chain = Chain(str(tenant.id), str(workspace.id))
    rich = dict[str, Any](
        category="billing", action="invoice.paid", outcome="FAILURE", project_id=str(workspace.project_id), tenant_id="cust 42",
        trace_id=TRACE,
        actor=b'{"email":"grace@test","id":"u-2","name":"Grace Hopper"}', resource=b'{"id":"r-2","type":"invoice"}',
        metadata='{"lines":[{"note":"Straße"}]}'.encode(),
    )  # fmt: skip
    events = [chain.event(), chain.event(**rich), chain.event()]
    await store(superuser, chain, events)
    await searching.index(superuser, events)
    await searching.name(superuser, events[1], "pay 42")
    return Site(api_client, tenant, chain, events, superuser)


def problem(answer: httpx.Response) -> tuple[int, str, list[str]]:
    body: dict[str, Any] = answer.json()
    return answer.status_code, body["code"], [detail["field"] for detail in body.get("details", ())]


@pytest.mark.parametrize(
    "parameters",
    [
        {"category": "billing"},
        {"action": "invoice.*"},
        {"outcome": "FAILURE"},
        {"tenantId": "cust 42"},
        {"actorId": "u-2"},
        {"actorEmail": "grace@test"},
        {"resourceType": "invoice"},
        {"resourceId": "r-2"},
        {"traceId": TRACE},
        {"idempotencyKey": "pay 42"},
        {"q": "hopper GRACE"},
        {"q": "strasse invoice"},
        {"q": "grace", "outcome": "FAILURE", "idempotencyKey": "pay 42", "actorId": "u-2", "sort": "seq"},
    ],
    ids=str,
)
async def test_each_filter_finds_what_has_it(site: Site, parameters: Parameters) -> None:
    assert await site.places(None, **parameters) == [2]
    if "sort" not in parameters:
        assert await site.places(site.tenant.key, **parameters) == [2]
    assert await site.places(site.tenant.workspaces[1].key, **parameters) == []


async def test_a_project_is_a_filter(site: Site) -> None:
    assert await site.places(projectId=str(site.tenant.workspaces[0].project_id)) == [2]


async def test_times_of_receipt_are_from_inclusive_to_exclusive(site: Site) -> None:
    first, second, third = (format_time(event.received_at) for event in site.events)
    assert await site.places(receivedFrom=second) == [2, 3]
    assert await site.places(receivedTo=second) == [1]
    assert await site.places(receivedFrom=second, receivedTo=third) == [2]
    assert await site.places(receivedTo=first) == []


async def test_another_ones_workspace_or_project_is_an_empty_page(site: Site, servers: LocalStack) -> None:
    """The same for one that is nobody's."""
    foreign = servers.tenant().workspaces[0]
    for key in (None, site.tenant.key):
        for workspace in (str(foreign.id), NOBODYS):
            page = await site.page("/v1/events", key, workspaceId=workspace)
            assert (page["data"], page["nextCursor"]) == ([], None)
        for project in (str(foreign.project_id), NOBODYS):
            assert await site.places(key, projectId=project) == []


async def test_an_event_is_found_by_its_fields_before_it_can_be_searched(site: Site) -> None:
    late = [site.chain.event(actor=b'{"id":"u-9"}') for _ in range(3)]
    await store(site.superuser, site.chain, late)
    assert await site.places(actorId="u-9") == [4, 5, 6]
    assert await site.places(q="u 9") == []
    await searching.index(site.superuser, late)
    assert await site.places(q="u 9") == [4, 5, 6]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"receivedFrom": "yesterday"}, "receivedFrom"),
        ({"receivedTo": "2026-01-01"}, "receivedTo"),
        ({"outcome": "success"}, "outcome"),
        ({"projectId": "1"}, "projectId"),
        ({"tenantId": ""}, "tenantId"),
        ({"tenantId": "x" * 129}, "tenantId"),
        ({"tenantId": "a\0b"}, "tenantId"),
        ({"actorId": ""}, "actorId"),
        ({"actorId": "ü" * 128}, "actorId"),
        ({"actorEmail": "\0"}, "actorEmail"),
        ({"resourceType": "x" * 256}, "resourceType"),
        ({"resourceId": ""}, "resourceId"),
        ({"traceId": "1" * 31}, "traceId"),
        ({"traceId": "A" * 32}, "traceId"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
        ({"idempotencyKey": "é"}, "idempotencyKey"),
        ({"idempotencyKey": "x" * 256}, "idempotencyKey"),
        ({"q": "ab"}, "q"),
        ({"q": "x" * 201}, "q"),
        ({"q": "a\0bc"}, "q"),
        ({"q": "_-!"}, "q"),
        ({"sort": "id"}, "sort"),
        ({"actor_id": "x"}, "actor_id"),
    ],
    ids=str,
)
async def test_a_bad_filter_is_400_and_named(site: Site, parameters: Parameters, field: str) -> None:
    assert problem(await site.get("/v1/events", **parameters)) == (400, "VALIDATION_ERROR", [field])


async def test_the_stored_order_is_one_workspaces(site: Site) -> None:
    assert problem(await site.get("/v1/events", site.tenant.key, sort="seq")) == (400, "VALIDATION_ERROR", ["sort"])
    assert await site.places(site.tenant.key, sort="seq", workspaceId=site.workspace) == [1, 2, 3]


async def test_a_list_by_seq_can_be_followed_for_ever(site: Site) -> None:
    """Each page leads on, an empty one too; newest first, the list has an end."""
    seen: list[int] = []
    asked: Parameters = {"sort": "seq", "order": "asc", "limit": 2}
    for _ in range(4):
        page = await site.page("/v1/events", None, **asked)
        seen += [event["seq"] for event in page["data"]]
        asked["cursor"] = page["nextCursor"]
    await store(site.superuser, site.chain, site.chain.events(3))
    for _ in range(3):
        page = await site.page("/v1/events", None, **asked)
        seen += [event["seq"] for event in page["data"]]
        asked["cursor"] = page["nextCursor"]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert (await site.page("/v1/events", None, sort="seq"))["nextCursor"] is None


async def test_an_empty_workspace_can_be_followed_from_its_first_event_on(site: Site) -> None:
    second = site.tenant.workspaces[1]
    empty = await site.page("/v1/events", second.key, sort="seq", order="asc")
    chain = Chain(str(site.tenant.id), str(second.id))
    await store(site.superuser, chain, chain.events(1))
    assert await site.places(second.key, sort="seq", order="asc", cursor=empty["nextCursor"]) == [1]


async def test_a_cursor_is_bound_to_every_filter(site: Site) -> None:
    cursor = (await site.page("/v1/events", None, limit=1))["nextCursor"]
    for name, value in {
        "receivedFrom": "2026-01-01T00:00:00Z", "receivedTo": "2027-01-01T00:00:00Z", "outcome": "SUCCESS", "projectId": NOBODYS,
        "tenantId": "x", "actorId": "x", "actorEmail": "x", "resourceType": "x", "resourceId": "x", "traceId": TRACE,
        "idempotencyKey": "x", "q": "xyz", "sort": "seq",
    }.items():  # fmt: skip
        assert problem(await site.get("/v1/events", cursor=cursor, **{name: value})) == (400, "VALIDATION_ERROR", ["cursor"]), name


async def test_the_id_of_a_repeat_leads_to_the_first_event(site: Site, servers: LocalStack) -> None:
    repeat = str(uuid4())
    await searching.alias(site.superuser, site.events[1], repeat)
    for key in (None, site.tenant.key):
        assert (await site.page(f"/v1/events/{repeat}", key))["id"] == site.events[1].id
    for key in (site.tenant.workspaces[1].key, servers.tenant().key):
        assert (await site.get(f"/v1/events/{repeat}", key)).status_code == 404


async def test_a_company_key_lists_all_workspaces_and_a_workspace_key_its_own(site: Site) -> None:
    everything = await site.page("/v1/workspaces", site.tenant.key)
    assert [(one["name"], one["kind"], one["seq"]) for one in everything["data"]] == [
        ("Audit", "AUDIT", 0),
        ("Workspace 1", "STANDARD", 3),
        ("Workspace 2", "STANDARD", 0),
    ]
    assert (await site.page("/v1/workspaces"))["data"] == everything["data"][1:2]
    await site.superuser.execute("UPDATE workspace SET archived_at = '2026-01-02T00:00:00Z' WHERE id = $1", site.tenant.workspaces[1].id)
    archived = (await site.page("/v1/workspaces", site.tenant.key))["data"][2]
    assert archived["archivedAt"] == "2026-01-02T00:00:00.000000Z"


async def test_workspaces_and_projects_are_paged(site: Site) -> None:
    for number in range(4):
        await site.superuser.execute(
            "INSERT INTO project (id, company_id, workspace_id, name) VALUES (uuidv7(), $1, $2, $3)",
            site.tenant.id, site.tenant.workspaces[0].id, f"Project {number}",
        )  # fmt: skip
    for path, count in (("/v1/workspaces", 3), (f"/v1/workspaces/{site.workspace}/projects", 5)):
        whole = (await site.page(path, site.tenant.key))["data"]
        assert len(whole) == count
        found: list[dict[str, Any]] = []
        asked: Parameters = {"limit": 2}
        while True:
            page = await site.page(path, site.tenant.key, **asked)
            found += page["data"]
            if page["nextCursor"] is None:
                break
            asked["cursor"] = page["nextCursor"]
        assert found == whole
        assert problem(await site.get("/v1/events", site.tenant.key, cursor=asked["cursor"])) == (400, "VALIDATION_ERROR", ["cursor"])


async def test_projects_are_those_of_the_workspace(site: Site, servers: LocalStack) -> None:
    first, second = site.tenant.workspaces
    page = await site.page(f"/v1/workspaces/{first.id}/projects")
    assert [(one["id"], one["workspaceId"]) for one in page["data"]] == [(str(first.project_id), str(first.id))]
    audit = (await site.page("/v1/workspaces", site.tenant.key))["data"][0]["id"]
    assert (await site.page(f"/v1/workspaces/{audit}/projects", site.tenant.key))["data"] == []
    for key, workspace in ((None, second.id), (servers.tenant().key, first.id), (site.tenant.key, NOBODYS), (None, "x")):
        assert problem(await site.get(f"/v1/workspaces/{workspace}/projects", key)) == (404, "NOT_FOUND", [])


async def test_usage_tells_plan_limits_and_what_there_is(site: Site) -> None:
    """The limits as they hold for this company, and the counts of what the key can see."""
    whole = await site.page("/v1/usage", site.tenant.key)
    assert (whole["plan"], whole["limits"]["hotDays"], whole["limits"]["requestsPerMinute"]) == ("GROWTH", 90, None)
    assert whole["used"] == {"events": 3, "workspaces": 2, "projects": 2, "keys": 3}
    own = await site.page("/v1/usage", site.tenant.workspaces[1].key)
    assert own["used"] == {"events": 0, "workspaces": 1, "projects": 1, "keys": 1}


async def test_keys_that_are_revoked_or_expired_are_not_used(site: Site) -> None:
    await site.superuser.execute("UPDATE api_key SET revoked_at = now() WHERE workspace_id = $1", site.tenant.workspaces[1].id)
    await site.superuser.execute(
        "INSERT INTO api_key (id, company_id, key_hash, prefix, name, expires_at) "
        "VALUES (uuidv7(), $1, $2, 'x', 'x', '2026-01-01T00:00:00Z')",
        site.tenant.id, uuid4().bytes * 2,
    )  # fmt: skip
    assert (await site.page("/v1/usage", site.tenant.key))["used"]["keys"] == 2


async def test_the_standard_categories_are_for_everybody(site: Site) -> None:
    answer = await site.client.get("/v1/categories")
    assert (answer.status_code, answer.json()) == (200, {"data": sorted(STANDARD_CATEGORIES), "nextCursor": None})
    assert "public" in answer.headers["cache-control"]
    assert answer.headers["x-ratelimit-limit"]


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/categories", "/v1/workspaces"])
async def test_unknown_parameters_are_refused(site: Site, path: str) -> None:
    assert problem(await site.get(path, site.tenant.key, category="x")) == (400, "VALIDATION_ERROR", ["category"])
