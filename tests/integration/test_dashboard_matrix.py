"""Who may do what with whose at the dashboard: each of its routes, called by everybody about one company; and that each call is audited.

The routes come from the app itself: a new one fails here until it has its line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.dashboard.route import DashboardRoute
from ops.auth import UserRole
from ops.db import use_micros
from ops.limits import Badge
from ops.local.environment import Role
from schemas.topics import Region
from tests.support.managing import Database, Told, operator, told
from tests.support.neighbours import Home, Neighbourhood, neighbourhood
from tests.support.stack import LocalStack
from tests.support.visitors import EMAIL, HOME, NOBODYS_COMPANY, USER_ID, Visitor, headers

Route = tuple[str, str]
HOOK = {"url": "https://hooks.example.com/", "events": ["AUDIT_EVENT_CREATED"]}


@dataclass(frozen=True)
class Line:
    """What a route answers to its company's admin, and to another company's; ``body`` is made of the home.

    ``shows``: the answer to its own people tells something of the home.
    """

    path: str
    own: int
    other: int
    body: Callable[[Home], Any] | None = None
    shows: bool = False


def _path(path: str, own: int = 200, other: int = 404, **more: Any) -> Line:
    return Line(f"/dashboard{path}", own, other, **more)


def _list(path: str, *, shows: bool = True) -> Line:
    return Line(f"/dashboard{path}", 200, 200, shows=shows)


COMPANIES: dict[Route, list[Line]] = {
    ("GET", "/dashboard/company"): [_list("/company", shows=False)],
    ("GET", "/dashboard/usage"): [_list("/usage", shows=False)],
    ("GET", "/dashboard/events"): [
        _list("/events"),
        _list("/events?workspaceId={workspace}"),
        _list("/events?q=ada"),
        _list("/events?actorId=u-1"),
    ],
    ("GET", "/dashboard/events/{id}"): [_path("/events/{event}", shows=True), _path("/events/{rejected}", shows=True)],
    ("GET", "/dashboard/rejections"): [_list("/rejections"), _list("/rejections?workspaceId={workspace}")],
    ("GET", "/dashboard/workspaces"): [_list("/workspaces")],
    ("GET", "/dashboard/workspaces/{id}/projects"): [_path("/workspaces/{workspace}/projects", shows=True)],
    ("GET", "/dashboard/workspaces/{id}/chain"): [_path("/workspaces/{workspace}/chain", shows=True)],
    ("POST", "/dashboard/workspaces"): [_path("/workspaces", 201, 201, body=lambda _: {"name": "Staging"})],
    ("POST", "/dashboard/workspaces/{id}/archive"): [_path("/workspaces/{workspace}/archive")],
    ("POST", "/dashboard/workspaces/{id}/unarchive"): [_path("/workspaces/{workspace}/unarchive", 409)],
    ("GET", "/dashboard/projects"): [_list("/projects"), _list("/projects?workspaceId={workspace}")],
    ("POST", "/dashboard/projects"): [
        _path("/projects", 201, 400, body=lambda home: {"name": "Billing", "workspaceId": home.workspace_id})
    ],
    ("GET", "/dashboard/keys"): [_list("/keys"), _list("/keys?workspaceId={workspace}")],
    ("POST", "/dashboard/keys"): [
        _path("/keys", 201, 201, body=lambda _: {"name": "Company key"}),
        _path("/keys", 201, 400, body=lambda home: {"name": "Workspace key", "workspaceId": home.workspace_id}),
    ],
    ("POST", "/dashboard/keys/{id}/rotate"): [_path("/keys/{key}/rotate", 201, body=lambda _: {})],
    ("POST", "/dashboard/keys/{id}/revoke"): [_path("/keys/{key}/revoke")],
    ("PUT", "/dashboard/keys/{id}/allowlist"): [_path("/keys/{key}/allowlist", body=lambda _: {"ipAllowlist": ["192.0.2.0/24"]})],
    ("GET", "/dashboard/webhooks"): [_list("/webhooks"), _list("/webhooks?workspaceId={workspace}")],
    ("POST", "/dashboard/webhooks"): [_path("/webhooks", 201, 400, body=lambda home: {**HOOK, "workspaceId": home.workspace_id})],
    ("GET", "/dashboard/webhooks/{id}"): [_path("/webhooks/{webhook}", shows=True)],
    ("GET", "/dashboard/webhooks/{id}/deliveries"): [_path("/webhooks/{webhook}/deliveries", shows=True)],
    ("PATCH", "/dashboard/webhooks/{id}"): [_path("/webhooks/{webhook}", body=lambda _: {"description": "x"})],
    ("DELETE", "/dashboard/webhooks/{id}"): [_path("/webhooks/{webhook}")],
    **{
        ("POST", f"/dashboard/webhooks/{{id}}/{verb}"): [_path(f"/webhooks/{{webhook}}/{verb}", status)]
        for verb, status in (("enable", 200), ("disable", 200), ("rotate-secret", 200), ("test", 202))
    },
    ("POST", "/dashboard/webhooks/{id}/replay"): [
        _path("/webhooks/{webhook}/replay", 202, body=lambda home: {"eventIds": [home.event_id]})
    ],
    ("POST", "/dashboard/exports"): [_path("/exports", 202, 202, body=lambda _: {"source": "HOT", "format": "JSONL"})],
    ("GET", "/dashboard/exports"): [_list("/exports")],
    ("GET", "/dashboard/exports/{id}"): [_path("/exports/{export}", shows=True)],
    ("GET", "/dashboard/exports/{id}/manifest"): [_path("/exports/{export}/manifest", 409)],
    ("GET", "/dashboard/exports/{id}/download"): [_path("/exports/{export}/download", shows=True)],
    ("POST", "/dashboard/exports/{id}/cancel"): [_path("/exports/{export}/cancel")],
    ("GET", "/dashboard/archives"): [_list("/archives")],
    ("GET", "/dashboard/restore-requests"): [_list("/restore-requests"), _list("/restore-requests?status=PENDING")],
    ("POST", "/dashboard/restore-requests"): [
        _path("/restore-requests", 201, 400, body=lambda home: {"archiveId": home.archive_id, "tier": "BULK"})
    ],
    ("GET", "/dashboard/restore-requests/{id}"): [_path("/restore-requests/{restore}", shows=True)],
    ("DELETE", "/dashboard/restore-requests/{id}"): [_path("/restore-requests/{restore}")],
}
"""Of the company-scoped routes."""
ADMINS: dict[Route, list[Line]] = {
    ("GET", "/dashboard/admin/companies"): [_list("/admin/companies")],
    ("POST", "/dashboard/admin/companies"): [
        _path("/admin/companies", 201, 201, body=lambda _: {"name": "Example Ltd", "region": "US", "plan": "GROWTH"})
    ],
    ("GET", "/dashboard/admin/companies/{id}"): [_list("/admin/companies/{company}")],
    ("POST", "/dashboard/admin/companies/{id}/plan"): [
        _path("/admin/companies/{company}/plan", 200, 200, body=lambda _: {"plan": "ENTERPRISE"})
    ],
    ("PUT", "/dashboard/admin/companies/{id}/overrides"): [
        _path("/admin/companies/{company}/overrides", 200, 200, body=lambda _: {"hotDays": 30})
    ],
    ("GET", "/dashboard/admin/plans"): [_list("/admin/plans")],
    ("GET", "/dashboard/admin/audit-logs"): [_list("/admin/audit-logs")],
    ("GET", "/dashboard/admin/restore-requests"): [_list("/admin/restore-requests?companyId={company}")],
    ("GET", "/dashboard/admin/restore-requests/{id}"): [_list("/admin/restore-requests/{restore}")],
    ("POST", "/dashboard/admin/restore-requests/{id}/approve"): [_list("/admin/restore-requests/{restore}/approve")],
    ("POST", "/dashboard/admin/restore-requests/{id}/reject"): [
        _path("/admin/restore-requests/{restore}/reject", body=lambda _: {"reason": "Not needed."})
    ],
    ("POST", "/dashboard/admin/restore-requests/{id}/cancel"): [_path("/admin/restore-requests/{restore}/cancel", body=lambda _: {})],
}
"""Of the operator's routes."""


@pytest.fixture
async def street(servers: LocalStack, superuser: Database) -> Neighbourhood:
    return await neighbourhood(servers, superuser)


@pytest.fixture
async def abroad(servers: LocalStack) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(servers.superuser_url(Region.EU))
    await use_micros(connection)
    yield connection
    await connection.close()


@pytest.fixture
def token(servers: LocalStack) -> str:
    return servers.state.secret("dashboard_service_token")


@pytest.fixture(scope="module")
def routes(servers: LocalStack) -> dict[Route, DashboardRoute]:
    """What the app has under the dashboard's path."""
    found: dict[Route, DashboardRoute] = {}
    for each in iter_route_contexts(create_app(servers.settings(Role.API)).routes):
        if isinstance(each.original_route, DashboardRoute):
            found |= {(method, str(each.path)): each.original_route for method in each.methods or ()}
    return found


def _named(lines: Mapping[Route, list[Line]]) -> pytest.MarkDecorator:
    pairs = [(route, line) for route, each in lines.items() for line in each]
    ids = [f"{route[0]} {line.path}{'' if line.body is None else ' ' + str(line.other)}" for route, line in pairs]
    return pytest.mark.parametrize(("route", "line"), pairs, ids=ids)


async def _call(client: httpx.AsyncClient, route: Route, line: Line, home: Home, sent: Mapping[str, str]) -> httpx.Response:
    path = line.path.format(**home.names, company=home.company_id)
    body = {} if line.body is None else {"json": line.body(home)}
    return await client.request(route[0], path, headers=dict(sent), **body)


def test_every_route_of_the_dashboard_has_its_line(routes: dict[Route, DashboardRoute]) -> None:
    assert set(routes) == set(COMPANIES) | set(ADMINS)
    assert {route for route, each in routes.items() if each.badge is Badge.ADMIN} == set(ADMINS)


def test_members_read_admins_do_and_operators_operate(routes: dict[Route, DashboardRoute]) -> None:
    """By the routes themselves: what changes something, or takes events away, is no member's; nothing is an operator's and a company's."""
    for (method, path), each in routes.items():
        if each.badge is Badge.ADMIN:
            assert each.roles == (UserRole.HYRELOG_ADMIN,)
        else:
            reads = method == "GET" and not path.endswith("/download")
            assert set(each.roles) == ({UserRole.MEMBER, UserRole.ADMIN} if reads else {UserRole.ADMIN}), path


def _expected(route: Route, line: Line) -> dict[Visitor, int]:
    reads = route[0] == "GET" and not line.path.endswith("/download")
    return {
        Visitor.ADMIN: line.own,
        Visitor.MEMBER: line.own if reads else 403,
        Visitor.OPERATOR: 403,
        Visitor.UNKNOWN_ROLE: 403,
        Visitor.OTHER_COMPANY: line.other,
        Visitor.OTHER_REGION: line.other,
        Visitor.NOBODYS: 404,
        Visitor.NO_COMPANY: 400,
        Visitor.NO_USER: 400,
        Visitor.NO_EMAIL: 400,
        Visitor.NO_TOKEN: 401,
        Visitor.WRONG_TOKEN: 401,
    }


@_named(COMPANIES)
async def test_each_visitor_gets_what_is_his_and_leaves_his_trace(
    api_client: httpx.AsyncClient,
    street: Neighbourhood,
    superuser: Database,
    abroad: Database,
    token: str,
    routes: dict[Route, DashboardRoute],
    route: Route,
    line: Line,
) -> None:
    """The right answer, nothing of the company in any but its own people's; and of each call one entry, in the right company's audit."""
    action = routes[route].name
    statuses, shown, entries = {}, set(), {}
    # The admin last: what he does, the others must find undone.
    for visitor in sorted(Visitor, key=lambda each: each is Visitor.ADMIN):
        before = await _audits(superuser, abroad, street)
        answer = await _call(api_client, route, line, street.home, headers(visitor, street, token))
        statuses[visitor] = answer.status_code
        if street.home.shown_in(answer.text):
            shown.add(visitor)
        if visitor not in HOME:
            assert street.home.company_id not in answer.text
        entries[visitor] = _new(before, await _audits(superuser, abroad, street))
    expected = _expected(route, line)
    assert statuses == expected
    assert shown <= {Visitor.ADMIN, Visitor.MEMBER}
    assert Visitor.ADMIN in shown or not line.shows
    for visitor, found in entries.items():
        ((place, entry),) = found
        assert place == _place(visitor), visitor
        assert (entry.action, entry.outcome) == (action, "SUCCESS" if expected[visitor] < 300 else "DENIED")
        assert (entry.metadata or {}).get("status") == (None if expected[visitor] < 300 else expected[visitor])
        assert entry.trace_id
        assert entry.context["ipAddress"] == "127.0.0.1"
        known = visitor not in (Visitor.NO_USER, Visitor.NO_EMAIL, Visitor.NO_TOKEN, Visitor.WRONG_TOKEN)
        assert entry.actor.get("email") == (EMAIL if known else None)


@_named(ADMINS)
async def test_the_operators_routes_are_the_operators(
    api_client: httpx.AsyncClient,
    street: Neighbourhood,
    superuser: Database,
    abroad: Database,
    token: str,
    routes: dict[Route, DashboardRoute],
    route: Route,
    line: Line,
) -> None:
    """No company is named; all others are refused, and each call leaves one entry."""
    action = routes[route].name
    for visitor in (Visitor.MEMBER, Visitor.ADMIN, Visitor.UNKNOWN_ROLE, Visitor.NO_USER, Visitor.NO_TOKEN, Visitor.OPERATOR):
        sent = {name: value for name, value in headers(visitor, street, token).items() if name != "x-company-id"}
        before = await _everything(superuser)
        answer = await _call(api_client, route, line, street.home, sent)
        wrong = {Visitor.OPERATOR: line.own, Visitor.NO_USER: 400, Visitor.NO_TOKEN: 401}.get(visitor, 403)
        assert answer.status_code == wrong, visitor
        (entry,) = (await _everything(superuser))[len(before) :]
        assert (entry.action, entry.outcome) == (action, "SUCCESS" if wrong < 300 else "DENIED")
        assert entry.actor.get("id") == (None if visitor in (Visitor.NO_USER, Visitor.NO_TOKEN) else USER_ID)


async def _audits(superuser: Database, abroad: Database, street: Neighbourhood) -> dict[str, list[Told]]:
    uuid = "SELECT $1::uuid"
    return {
        "home": await told(superuser, await superuser.fetchval(uuid, street.home.company_id)),
        "other": await told(superuser, await superuser.fetchval(uuid, street.other_company)),
        "abroad": await told(abroad, await superuser.fetchval(uuid, street.company_abroad)),
        "operator": await told(superuser, await operator(superuser)),
    }


async def _everything(superuser: Database) -> list[Told]:
    """All entries of the region, oldest first."""
    companies = await superuser.fetch("SELECT company_id FROM audit_outbox GROUP BY company_id ORDER BY min(position)")
    found = [entry for row in companies for entry in await told(superuser, row[0])]
    return sorted(found, key=lambda entry: entry.position)


def _new(before: Mapping[str, list[Told]], after: Mapping[str, list[Told]]) -> list[tuple[str, Told]]:
    return [(place, entry) for place, entries in after.items() for entry in entries[len(before[place]) :]]


def _place(visitor: Visitor) -> str:
    """Whose audit tells of him."""
    if visitor in HOME:
        return "home"
    return {Visitor.OTHER_COMPANY: "other", Visitor.OTHER_REGION: "abroad"}.get(visitor, "operator")


@pytest.mark.parametrize("company", [NOBODYS_COMPANY, "not-an-id", "0190163D-8694-739B-AEA5-966C26F8AD90"])
async def test_a_company_that_is_not_there_is_not_found(
    api_client: httpx.AsyncClient, street: Neighbourhood, token: str, company: str
) -> None:
    sent = headers(Visitor.ADMIN, street, token) | {"x-company-id": company}
    answer = await api_client.get("/dashboard/company", headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_the_operators_own_company_is_nobodys(
    api_client: httpx.AsyncClient, street: Neighbourhood, superuser: Database, token: str
) -> None:
    own = str(await operator(superuser))
    answer = await api_client.get("/dashboard/company", headers=headers(Visitor.ADMIN, street, token) | {"x-company-id": own})
    assert answer.status_code == 404
