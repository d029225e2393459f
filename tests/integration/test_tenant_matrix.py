"""Who may do what with whose: each endpoint of both apps, called by every kind of caller about one company's workspace.

The endpoints come from the apps' own routes: a new one fails here until it has its line in ``MATRIX``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry

from api.app import create_app as create_api
from ingest.app import ROUTES, IngestApp
from ingest.app import create_app as create_ingest
from ops.local.environment import Role
from schemas.codec import SCHEMAS
from tests.support.managing import Database, audit_workspace, told
from tests.support.neighbours import NEIGHBOURS, STRANGERS, Caller, Home, Neighbourhood, neighbourhood
from tests.support.serving import served
from tests.support.stack import LocalStack

Route = tuple[str, str]
"""Method and template."""
EVENT = {"category": "user", "action": "user.login"}
EXPORT = {"source": "HOT", "format": "JSONL"}
READY_SECONDS = 20.0
TAIL_SECONDS = 0.5
"""So that their answers end; what is stored comes first."""


@dataclass(frozen=True)
class Line:
    """What an endpoint answers to each caller.

    ``path`` names objects of the home as ``{workspace}``, ``{event}``, ``{key}``; ``body`` is made of the home.
    ``owners`` and ``neighbours`` are statuses by caller; strangers get 401. ``shows``: an owner's 200 tells something of the home.
    """

    path: str
    owners: Mapping[Caller, int]
    neighbours: Mapping[Caller, int]
    body: Any = None
    shows: bool = False
    about: str = ""

    def expected(self) -> dict[Caller, int]:
        return {**self.owners, **self.neighbours, **dict.fromkeys(STRANGERS, 401)}


@dataclass(frozen=True)
class Open:
    """An endpoint that needs no key, and tells nothing of anybody. ``token``: it is the operator's, and 401 to every key."""

    path: str
    token: bool = False


def _both(status: int) -> dict[Caller, int]:
    return dict.fromkeys((Caller.WORKSPACE, Caller.COMPANY), status)


def _neighbours(status: int, **others: int) -> dict[Caller, int]:
    return {**dict.fromkeys(NEIGHBOURS, status), **{Caller[name]: other for name, other in others.items()}}


def _managing(status: int) -> dict[Caller, int]:
    """What takes a company's key."""
    return {Caller.WORKSPACE: 403, Caller.COMPANY: status}


def _project_of(home: Home) -> dict[str, str]:
    return {**EVENT, "projectId": home.project_id}


COMPANY_KEYS = {"OTHER_COMPANY": 403, "OTHER_REGION": 403}
INGEST = {Caller.WORKSPACE: 202, Caller.COMPANY: 403}
WORKSPACE_KEYS = {"OTHER_WORKSPACE": 403, "FOREIGN_WORKSPACE": 403}

MATRIX: dict[Route, list[Line] | Open] = {
    ("GET", "/"): Open("/"),
    ("GET", "/health"): Open("/health"),
    ("GET", "/ready"): Open("/ready"),
    ("GET", "/internal/health"): Open("/internal/health", token=True),
    ("GET", "/internal/metrics"): Open("/internal/metrics", token=True),
    ("GET", "/internal/rejections"): Open("/internal/rejections?region=AU", token=True),
    ("GET", "/openapi.json"): Open("/openapi.json"),
    ("GET", "/docs"): Open("/docs"),
    ("GET", "/v1/schemas/{fingerprint}"): Open(f"/v1/schemas/{next(iter(SCHEMAS))}"),
    ("GET", "/v1/events"): [
        Line("/v1/events", _both(200), _neighbours(200), shows=True),
        Line("/v1/events?workspaceId={workspace}", _both(200), _neighbours(200), shows=True),
        Line("/v1/events?workspaceId={workspace}&sort=seq&order=asc", _both(200), _neighbours(200), shows=True),
        Line("/v1/events?actorId=u-1", _both(200), _neighbours(200), shows=True),
        Line("/v1/events?projectId={project}", _both(200), _neighbours(200), shows=True),
        Line("/v1/events?q=ada", _both(200), _neighbours(200), shows=True),
        Line("/v1/events?idempotencyKey=key-1", _both(200), _neighbours(200), shows=True),
    ],
    ("GET", "/v1/events/tail"): [
        Line("/v1/events/tail?since=2020-01-01T00:00:00Z", _both(200), _neighbours(200), shows=True),
        Line("/v1/events/tail?since=2020-01-01T00:00:00Z&workspaceId={workspace}", _both(200), _neighbours(200), shows=True),
        Line("/v1/events/tail?since=2020-01-01T00:00:00Z&q=ada", _both(200), _neighbours(200), shows=True),
    ],
    ("GET", "/v1/events/{id}"): [
        Line("/v1/events/{event}", _both(200), _neighbours(404), shows=True),
        Line("/v1/events/{alias}", _both(200), _neighbours(404), shows=True),
        Line("/v1/events/{rejected}", _both(200), _neighbours(404), shows=True),
    ],
    ("GET", "/v1/categories"): Open("/v1/categories"),
    ("GET", "/v1/workspaces"): [Line("/v1/workspaces", _both(200), _neighbours(200), shows=True)],
    ("GET", "/v1/workspaces/{id}/projects"): [
        Line("/v1/workspaces/{workspace}/projects", _both(200), _neighbours(404), shows=True),
    ],
    ("GET", "/v1/usage"): [Line("/v1/usage", _both(200), _neighbours(200))],
    ("GET", "/v1/workspaces/{id}/chain"): [Line("/v1/workspaces/{workspace}/chain", _both(200), _neighbours(404), shows=True)],
    ("GET", "/v1/rejections"): [
        Line("/v1/rejections", _both(200), _neighbours(200), shows=True),
        Line("/v1/rejections?workspaceId={workspace}", _both(200), _neighbours(200), shows=True),
    ],
    ("GET", "/v1/keys/status"): [Line("/v1/keys/status", _both(200), _neighbours(200))],
    ("POST", "/v1/workspaces/{id}/keys"): [
        Line("/v1/workspaces/{workspace}/keys", _managing(201), _neighbours(404, **WORKSPACE_KEYS), body=lambda _: {"name": "x"}),
    ],
    ("POST", "/v1/keys/{id}/rotate"): [
        Line("/v1/keys/{key}/rotate", _managing(201), _neighbours(404, **WORKSPACE_KEYS), body=lambda _: {}),
    ],
    ("POST", "/v1/workspaces/{id}/webhooks"): [
        Line(
            "/v1/workspaces/{workspace}/webhooks",
            _managing(201),
            _neighbours(404, **WORKSPACE_KEYS),
            body=lambda home: {"url": "https://example.org/", "events": ["AUDIT_EVENT_CREATED"], "projectId": home.project_id},
        ),
    ],
    ("GET", "/v1/workspaces/{id}/webhooks"): [
        Line("/v1/workspaces/{workspace}/webhooks", _managing(200), _neighbours(404, **WORKSPACE_KEYS), shows=True),
    ],
    ("GET", "/v1/webhooks/{id}"): [Line("/v1/webhooks/{webhook}", _managing(200), _neighbours(404, **WORKSPACE_KEYS), shows=True)],
    ("GET", "/v1/webhooks/{id}/deliveries"): [
        Line("/v1/webhooks/{webhook}/deliveries", _managing(200), _neighbours(404, **WORKSPACE_KEYS), shows=True),
        Line("/v1/webhooks/{webhook}/deliveries?eventId={event}", _managing(200), _neighbours(404, **WORKSPACE_KEYS), shows=True),
    ],
    ("PATCH", "/v1/webhooks/{id}"): [
        Line("/v1/webhooks/{webhook}", _managing(200), _neighbours(404, **WORKSPACE_KEYS), body=lambda _: {"description": "x"}),
    ],
    ("DELETE", "/v1/webhooks/{id}"): [Line("/v1/webhooks/{webhook}", _managing(200), _neighbours(404, **WORKSPACE_KEYS))],
    **{
        ("POST", f"/v1/webhooks/{{id}}/{verb}"): [
            Line(f"/v1/webhooks/{{webhook}}/{verb}", _managing(status), _neighbours(404, **WORKSPACE_KEYS)),
        ]
        for verb, status in (("enable", 200), ("disable", 200), ("rotate-secret", 200), ("test", 202))
    },
    ("POST", "/v1/webhooks/{id}/replay"): [
        Line(
            "/v1/webhooks/{webhook}/replay",
            _managing(202),
            _neighbours(404, **WORKSPACE_KEYS),
            body=lambda home: {"eventIds": [home.event_id]},
        ),
    ],
    ("POST", "/v1/exports"): [
        Line("/v1/exports", _both(202), _neighbours(202), body=lambda _: EXPORT),
        Line(
            "/v1/exports",
            _both(202),
            _neighbours(202),
            body=lambda home: {**EXPORT, "filters": {"workspaceId": home.workspace_id}},
            about="of its workspace",
        ),
    ],
    ("GET", "/v1/exports"): [Line("/v1/exports", _both(200), _neighbours(200), shows=True)],
    ("GET", "/v1/exports/{id}"): [Line("/v1/exports/{export}", _both(200), _neighbours(404), shows=True)],
    ("GET", "/v1/exports/{id}/manifest"): [Line("/v1/exports/{export}/manifest", _both(409), _neighbours(404))],
    ("GET", "/v1/exports/{id}/download"): [Line("/v1/exports/{export}/download", _both(200), _neighbours(404), shows=True)],
    ("POST", "/v1/exports/{id}/cancel"): [Line("/v1/exports/{export}/cancel", _both(200), _neighbours(404), shows=True)],
    ("POST", "/v1/events"): [
        Line("/v1/events", INGEST, _neighbours(202, **COMPANY_KEYS), body=lambda _: EVENT),
        Line("/v1/events", INGEST, _neighbours(400, **COMPANY_KEYS), body=_project_of, about="its project"),
    ],
    ("POST", "/v1/events/batch"): [
        Line("/v1/events/batch", INGEST, _neighbours(202, **COMPANY_KEYS), body=lambda _: [EVENT]),
        Line(
            "/v1/events/batch", INGEST, _neighbours(400, **COMPANY_KEYS), body=lambda home: [EVENT, _project_of(home)], about="its project"
        ),
    ],
}


@dataclass(frozen=True)
class Apps:
    """Clients of both apps."""

    api: httpx.AsyncClient
    ingest: httpx.AsyncClient
    traces: list[str] = field(default_factory=list)

    def of(self, route: Route) -> list[httpx.AsyncClient]:
        """The apps that serve a route."""
        method, template = route
        if method == "POST" and template in ROUTES:
            return [self.ingest]
        return [self.api, self.ingest] if template in ("/health", "/ready", "/internal/health", "/internal/metrics") else [self.api]


@pytest_asyncio.fixture(scope="module")
async def apps(servers: LocalStack) -> AsyncIterator[Apps]:
    async with AsyncExitStack() as exits:
        settings = servers.settings(Role.API).model_copy(update={"tail_lifetime_seconds": TAIL_SECONDS})
        api = await exits.enter_async_context(served(create_api(settings)))
        ingest = create_ingest(servers.settings(Role.INGEST), registry=CollectorRegistry())
        client = await exits.enter_async_context(served(ingest))
        async with asyncio.timeout(READY_SECONDS):
            while (await client.get("/ready")).status_code != 200:
                await asyncio.sleep(0.05)
        yield Apps(api, client)


@pytest.fixture
async def street(servers: LocalStack, superuser: Database) -> Neighbourhood:
    return await neighbourhood(servers, superuser)


def _routes(app: FastAPI) -> set[Route]:
    return {(method, str(route.path)) for route in iter_route_contexts(app.routes) for method in route.methods or ("mounted",)}


async def _call(client: httpx.AsyncClient, method: str, path: str, key: str | None, body: Any = None) -> httpx.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return await client.request(method, path, headers=headers, **({} if body is None else {"json": body}))


def test_every_route_of_both_apps_is_in_the_matrix(servers: LocalStack) -> None:
    ingest = create_ingest(servers.settings(Role.INGEST), registry=CollectorRegistry())
    assert isinstance(ingest, IngestApp)
    routes = _routes(create_api(servers.settings(Role.API))) | _routes(ingest.operations) | {("POST", path) for path in ROUTES}
    # Those of the dashboard are called by other people: tests/integration/test_dashboard_matrix.py has them all.
    ours = {(method, path) for method, path in routes if method != "HEAD" and not path.startswith("/dashboard/")}
    assert ours == set(MATRIX)


PAIRS = [(route, line) for route, lines in MATRIX.items() if isinstance(lines, list) for line in lines]


def _named(pairs: list[tuple[Route, Line]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("route", "line"), pairs, ids=[f"{route[0]} {line.path} {line.about}".strip() for route, line in pairs])


@_named(PAIRS)
async def test_each_caller_gets_what_is_his(apps: Apps, street: Neighbourhood, superuser: Database, route: Route, line: Line) -> None:
    """The right answer, and nothing of the home in any answer but to the home's own keys."""
    (client,) = apps.of(route)
    path = line.path.format(**street.home.names)
    body = None if line.body is None else line.body(street.home)
    answers = {caller: await _call(client, route[0], path, street.keys[caller], body) for caller in Caller}
    assert {caller: answer.status_code for caller, answer in answers.items()} == line.expected()
    shown = {caller for caller, answer in answers.items() if street.home.shown_in(answer.text)}
    assert shown <= {Caller.WORKSPACE, Caller.COMPANY}
    assert shown or not line.shows
    for caller in (Caller.OTHER_COMPANY, Caller.FOREIGN_WORKSPACE, Caller.OTHER_REGION, *STRANGERS):
        assert street.home.company_id not in answers[caller].text


@pytest.mark.parametrize("route", [route for route, entry in MATRIX.items() if isinstance(entry, Open)], ids=" ".join)
async def test_what_needs_no_key_tells_nothing_of_anybody(apps: Apps, street: Neighbourhood, servers: LocalStack, route: Route) -> None:
    entry = MATRIX[route]
    assert isinstance(entry, Open)
    for client in apps.of(route):
        for key in street.keys.values():
            answer = await _call(client, route[0], entry.path, key)
            assert answer.status_code == (401 if entry.token else 200)
            assert not street.home.shown_in(answer.text)
        answer = await client.get(entry.path, headers={"x-internal-token": servers.internal_token})
        assert answer.status_code == 200


def _is_audited(route: Route, line: Line) -> bool:
    return route[0] != "GET" and line.owners[Caller.WORKSPACE] == 403


@_named([pair for pair in PAIRS if _is_audited(*pair)])
async def test_nobodys_attempt_is_told_in_another_ones_audit(
    apps: Apps, street: Neighbourhood, superuser: Database, route: Route, line: Line
) -> None:
    """Its own company's keys leave their trace, refused, revoked and expired ones too; neighbours and strangers leave theirs elsewhere."""
    path = line.path.format(**street.home.names)
    for caller in Caller:
        await _call(apps.api, route[0], path, street.keys[caller], None if line.body is None else line.body(street.home))
    company = street.home.company_id
    entries = await told(superuser, (await superuser.fetchval("SELECT $1::uuid", company)))
    assert [(entry.outcome, (entry.metadata or {}).get("status")) for entry in entries] == [
        ("DENIED", 403),
        ("SUCCESS", None),
        ("DENIED", 403),
        *[("DENIED", 401)] * 4,
    ]


async def test_a_foreign_project_and_one_that_is_nobodys_are_told_apart_by_nothing(apps: Apps, street: Neighbourhood) -> None:
    """The same status, and the same words."""
    key = street.keys[Caller.FOREIGN_WORKSPACE]
    nobodys = "0190163d-8694-739b-aea5-966c26f8ad90"
    foreign, unknown = [
        (await _call(apps.ingest, "POST", "/v1/events", key, {**EVENT, "projectId": project})).json()
        for project in (street.home.project_id, nobodys)
    ]
    assert foreign.pop("traceId") != unknown.pop("traceId")
    assert foreign == unknown
    assert foreign["details"][0]["field"] == "projectId"


async def test_the_audit_is_read_with_the_companys_key_alone(apps: Apps, street: Neighbourhood, superuser: Database) -> None:
    """Neither a workspace's key nor a neighbour sees it; nobody can post to it, as no key can be its own."""
    company = await superuser.fetchval("SELECT $1::uuid", street.home.company_id)
    workspace = await audit_workspace(superuser, company)
    expected: dict[Caller, int] = {**dict.fromkeys(Caller, 404), Caller.COMPANY: 200, **dict.fromkeys(STRANGERS, 401)}
    statuses = {
        caller: (await _call(apps.api, "GET", f"/v1/workspaces/{workspace}/chain", key)).status_code for caller, key in street.keys.items()
    }
    assert statuses == expected
