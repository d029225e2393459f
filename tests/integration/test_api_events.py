"""``GET /v1/events``: filters, order, paging, and never another tenant's event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest

from ops.seed import Tenant
from schemas.event import StoredEvent, format_time
from schemas.view import render
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True)
class Site:
    """The API over a company of two workspaces, three events each at the same three moments."""

    client: httpx.AsyncClient
    tenant: Tenant
    chains: tuple[Chain, Chain]
    events: tuple[list[StoredEvent], list[StoredEvent]]
    superuser: Database

    async def get(self, path: str, key: str | None = None, /, **parameters: str | int) -> httpx.Response:
        return await self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {key or self.tenant.workspaces[0].key}"})

    async def ids(self, key: str | None = None, **parameters: str | int) -> list[str]:
        answer = await self.get("/v1/events", key, **parameters)
        assert answer.status_code == 200, answer.text
        return [event["id"] for event in answer.json()["data"]]

    async def walk(self, key: str | None = None, **parameters: str | int) -> list[str]:
        """All pages' ids, following ``nextCursor``."""
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await self.get("/v1/events", key, **parameters, **cursor)).json()
            found += [event["id"] for event in page["data"]]
            assert len(set(found)) == len(found), "an event came twice"
            if page["nextCursor"] is None:
                return found
            cursor = {"cursor": page["nextCursor"]}


@pytest.fixture
async def site(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> Site:
    tenant = servers.tenant(workspaces=2)
    first, second = (Chain(str(tenant.id), str(workspace.id)) for workspace in tenant.workspaces)
    events = (first.events(3), second.events(3))
    for chain, chained in zip((first, second), events, strict=True):
        await store(superuser, chain, chained)
    return Site(api_client, tenant, (first, second), events, superuser)


def ids(events: list[StoredEvent]) -> list[str]:
    return [event.id for event in events]


def problem(answer: httpx.Response) -> tuple[int, str, list[str]]:
    body: dict[str, Any] = answer.json()
    return answer.status_code, body["code"], [detail["field"] for detail in body.get("details", ())]


async def test_a_workspace_key_sees_its_workspace_newest_first(site: Site) -> None:
    assert await site.ids() == ids(site.events[0])[::-1]


async def test_events_come_as_rendered_groups_byte_for_byte(site: Site) -> None:
    answer = await site.get("/v1/events", order="asc")
    assert answer.content == b'{"data":[%b],"nextCursor":null,"hotSince":null}' % b",".join(
        render(event, verification=False) for event in site.events[0]
    )


async def test_answers_are_kept_by_no_cache(site: Site) -> None:
    assert (await site.get("/v1/events")).headers["cache-control"] == "no-store"


async def test_verification_comes_when_asked_for(site: Site) -> None:
    answer = await site.get("/v1/events", include="verification", limit=1)
    assert answer.json()["data"][0] == json.loads(render(site.events[0][-1], verification=True))


async def test_a_company_key_sees_all_its_workspaces_by_time_then_id(site: Site) -> None:
    everything = sorted(site.events[0] + site.events[1], key=lambda event: (event.timestamp, event.id))
    assert await site.ids(site.tenant.key, order="asc") == ids(everything)
    assert await site.ids(site.tenant.key) == ids(everything)[::-1]


async def test_a_company_key_may_ask_for_one_workspace(site: Site) -> None:
    assert await site.ids(site.tenant.key, workspaceId=site.chains[1].workspace_id) == ids(site.events[1])[::-1]


async def test_another_workspace_is_an_empty_page(site: Site, servers: LocalStack) -> None:
    """Unknown and foreign look alike, for both kinds of key."""
    foreign = servers.tenant()
    assert await site.ids(workspaceId=site.chains[1].workspace_id) == []
    assert await site.ids(site.tenant.key, workspaceId=str(foreign.workspaces[0].id)) == []
    assert await site.ids(foreign.key, workspaceId=site.chains[0].workspace_id) == []


async def test_from_is_inclusive_and_to_exclusive(site: Site) -> None:
    first, second, third = site.events[0]
    assert await site.ids(**{"from": format_time(second.timestamp)}) == [third.id, second.id]
    assert await site.ids(to=format_time(second.timestamp)) == [first.id]
    assert await site.ids(to=format_time(second.timestamp), order="asc") == [first.id]
    assert await site.ids(order="asc", **{"from": "2026-01-01T01:00:02+01:00", "to": "2026-01-01T01:00:03+01:00"}) == [second.id]


async def test_category_and_action_filter_exactly_and_a_star_by_prefix(site: Site) -> None:
    chain = site.chains[0]
    odd = [chain.event(category="billing", action="user.logout"), chain.event(action="user"), chain.event(action="userx.login")]
    await store(site.superuser, chain, odd)
    logins = ids(site.events[0])
    assert await site.ids(category="billing") == [odd[0].id]
    assert await site.ids(action="user.login", order="asc") == logins
    assert await site.ids(action="user.*", order="asc") == [*logins, odd[0].id]
    assert await site.ids(site.tenant.key, action="user.*", category="billing") == [odd[0].id]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("whole_company", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 4])
async def test_pages_tile_the_list_even_when_all_happened_at_once(site: Site, order: str, whole_company: bool, limit: int) -> None:
    for chain in site.chains:
        await store(site.superuser, chain, [chain.event(at=BASE_TIME + 2 * SECOND) for _ in range(5)])
    key = site.tenant.key if whole_company else None
    assert await site.walk(key, order=order, limit=limit) == await site.ids(key, order=order, limit=200)


async def test_events_stored_meanwhile_shift_nothing(site: Site) -> None:
    first = (await site.get("/v1/events", limit=2)).json()
    await store(site.superuser, site.chains[0], site.chains[0].events(3))
    second = (await site.get("/v1/events", limit=2, cursor=first["nextCursor"])).json()
    assert [event["id"] for event in second["data"]] == [site.events[0][0].id]
    assert second["nextCursor"] is None


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"order": "up"}, "order"),
        ({"include": "everything"}, "include"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-01-01T00:00:00"}, "from"),
        ({"from": "2026-01-01T00:00:00.1234567Z"}, "from"),
        ({"from": "2026-13-01T00:00:00Z"}, "from"),
        ({"to": "2026-01-01T00:00:00 01:00"}, "to"),
        ({"category": "User"}, "category"),
        ({"category": "a\0b"}, "category"),
        ({"action": "a b"}, "action"),
        ({"action": "*"}, "action"),
        ({"action": "a*"}, "action"),
        ({"workspaceId": "1"}, "workspaceId"),
        ({"workspaceId": "0190A000-0000-7000-8000-00000000000A"}, "workspaceId"),
        ({"start": "2026-01-01T00:00:00Z"}, "start"),
        ({"workspace_id": "x"}, "workspace_id"),
        ({"cursor": "garbage!"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": "QUJD"}, "cursor"),
    ],
)
async def test_a_bad_or_unknown_parameter_is_400_and_named(site: Site, parameters: dict[str, str | int], field: str) -> None:
    assert problem(await site.get("/v1/events", **parameters)) == (400, "VALIDATION_ERROR", [field])


async def test_a_plus_sign_sent_as_a_space_is_explained(site: Site) -> None:
    answer = await site.get("/v1/events", to="2026-01-01T00:00:00 01:00")
    assert "%2B" in answer.json()["details"][0]["message"]


async def test_a_parameter_given_twice_is_400(site: Site) -> None:
    answer = await site.client.get("/v1/events?category=a&category=b", headers={"Authorization": f"Bearer {site.tenant.key}"})
    assert problem(answer) == (400, "VALIDATION_ERROR", ["category"])


async def test_a_cursor_is_good_for_its_own_list_only(site: Site) -> None:
    cursor = (await site.get("/v1/events", limit=1, category="user")).json()["nextCursor"]
    other_key = site.tenant.workspaces[1].key
    elsewhere: tuple[tuple[str | None, dict[str, str]], ...] = (
        (None, {}),
        (None, {"category": "billing"}),
        (None, {"category": "user", "order": "asc"}),
        (other_key, {"category": "user"}),
        (site.tenant.key, {"category": "user"}),
    )
    for key, parameters in elsewhere:
        answer = await site.get("/v1/events", key, **{"cursor": cursor, **parameters})
        assert problem(answer) == (400, "VALIDATION_ERROR", ["cursor"]), (key, parameters)
    assert (await site.get("/v1/events", cursor=cursor, category="user", limit=9)).status_code == 200


async def test_a_cursor_changed_in_any_byte_is_refused(site: Site) -> None:
    cursor = (await site.get("/v1/events", limit=1)).json()["nextCursor"]
    for place in range(0, len(cursor), 7):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert problem(await site.get("/v1/events", cursor=changed)) == (400, "VALIDATION_ERROR", ["cursor"])


async def test_an_event_by_its_id_always_comes_with_verification(site: Site) -> None:
    answer = await site.get(f"/v1/events/{site.events[0][1].id}")
    assert (answer.status_code, answer.content) == (200, render(site.events[0][1], verification=True))


async def test_an_event_of_another_workspace_or_company_or_nobody_is_404(site: Site, servers: LocalStack) -> None:
    theirs, foreign = site.events[1][0].id, servers.tenant()
    assert (await site.get(f"/v1/events/{theirs}", site.tenant.key)).status_code == 200
    for key, wanted in (
        (None, theirs),
        (foreign.key, theirs),
        (None, "0190a000-0000-7000-8000-00000000000a"),
        (None, theirs.upper()),
        (None, "x"),
    ):
        assert problem(await site.get(f"/v1/events/{wanted}", key)) == (404, "NOT_FOUND", [])


async def test_an_erased_group_is_null_and_its_commitment_stays(site: Site) -> None:
    event = site.events[0][0]
    await site.superuser.execute("SET session_replication_role = replica")
    await site.superuser.execute("UPDATE events SET actor = NULL, erased_at = $2 WHERE id = $1", event.id, BASE_TIME)
    body = (await site.get(f"/v1/events/{event.id}")).json()
    assert event.actor is not None
    assert (body["actor"], body["erasedAt"]) == (None, "2026-01-01T00:00:00.000000Z")
    assert (body["verification"]["commitments"]["actor"], body["verification"]["salts"]["actor"]) == (event.actor.commitment.hex(), None)


async def test_without_a_key_it_is_401(site: Site) -> None:
    answer = await site.client.get("/v1/events")
    assert (problem(answer), answer.headers["www-authenticate"]) == ((401, "UNAUTHORIZED", []), "Bearer")


async def test_a_revoked_key_is_401(site: Site) -> None:
    await site.superuser.execute("UPDATE api_key SET revoked_at = now() WHERE company_id = $1 AND workspace_id IS NULL", site.tenant.id)
    assert problem(await site.get("/v1/events", site.tenant.key)) == (401, "UNAUTHORIZED", [])


async def test_an_expired_key_is_401(site: Site) -> None:
    await site.superuser.execute("UPDATE api_key SET expires_at = now() WHERE company_id = $1 AND workspace_id IS NULL", site.tenant.id)
    assert problem(await site.get("/v1/events", site.tenant.key)) == (401, "UNAUTHORIZED", [])
