"""Every route of the OpenAPI document against the running service: no 5xx, and nothing answered that the document does not say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode

from api import story
from api.dashboard.shared import originals
from tests.support.conformance import operations, sayable, strict, try_each
from tests.support.documents import document
from tests.support.doors import bearer
from tests.support.neighbours import archived
from tests.support.posting import Producer
from tests.support.stack import LocalStack


def _label(name: str) -> str:
    """``GET /v1/events`` for ``get /v1/events``."""
    method, path = name.split()
    return f"{method.upper()} {path}"


EXAMPLES, OF_DASHBOARD, OF_SHARED = 15, 5, 2
"""How many requests are made to a route: few where the code is that of another route."""
HOOK = {"url": "https://hooks.example.com/", "events": ["AUDIT_EVENT_CREATED"]}
EXPORT = {"source": "HOT", "format": "JSONL"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
DOCUMENT = document()
SCHEMA = schemathesis.openapi.from_dict(strict(DOCUMENT))
OPERATIONS = {found.label: found for found in operations(SCHEMA)}
SECURED = [label for label, operation in OPERATIONS.items() if "security" in operation.definition.raw]
ENDING = [label for label in OPERATIONS if label != "GET /v1/events/tail"]
"""Those whose answer can be awaited (tests/integration/test_tail.py has the other one)."""
TAKING = [label for label in ENDING if OPERATIONS[label].definition.raw["parameters"] or OPERATIONS[label].body]
WRONG = {
    "POST /v1/events": {"action": "user.login"},
    "POST /v1/events/batch": [{"category": "auth", "action": "user.login"}, {"action": "user.login"}],
    "POST /v1/workspaces/{id}/keys": {},
    "POST /v1/keys/{id}/rotate": {"overlapSeconds": 86_401},
    "POST /v1/workspaces/{id}/webhooks": {"events": ["AUDIT_EVENT_CREATED"]},
    "PATCH /v1/webhooks/{id}": {"events": []},
    "POST /v1/webhooks/{id}/replay": {"fromSeq": 1},
    "POST /v1/exports": {"source": "HOT"},
    "POST /dashboard/keys": {},
    "PUT /dashboard/keys/{id}/allowlist": {},
    "POST /dashboard/workspaces": {},
    "POST /dashboard/projects": {"name": "Main App"},
    "POST /dashboard/webhooks": {"events": ["AUDIT_EVENT_CREATED"], "workspaceId": story.WORKSPACE},
    "POST /dashboard/restore-requests": {"days": 7},
    "POST /dashboard/admin/companies": {"name": "Example Ltd"},
    "POST /dashboard/admin/companies/{id}/plan": {},
    "PUT /dashboard/admin/companies/{id}/overrides": {"webhooks": -1},
    "POST /dashboard/admin/restore-requests/{id}/reject": {},
    "POST /dashboard/admin/restore-requests/{id}/cancel": {"reason": ""},
}
SHARED = {_label(name): _label(original) for name, original in originals().items()}
"""Routes of the dashboard that are those of /v1."""
WRONG |= {label: WRONG[original] for label, original in SHARED.items() if original in WRONG}
VISITED = [label for label in OPERATIONS if "/dashboard/" in label]
NO_GOOD_KEYS: tuple[Mapping[str, str], ...] = (
    {},
    {"Authorization": "Basic b3BlbjpzZXNhbWU=", "x-internal-token": "", "x-dashboard-token": ""},
    bearer("hlk_us_ws_" + "0" * 48, x_internal_token="0" * 64, x_dashboard_token="0" * 64),
)


@dataclass(frozen=True)
class Site:
    """A company with one of each thing for keys, and another one for users of the dashboard, who end things too.

    ``keys`` are the headers of a workspace's key and of its company's, each with the operator's token, and ``ids`` what is theirs;
    ``admin`` and ``operator`` are the headers of users, and ``visited`` is what they see.
    """

    url: str
    keys: tuple[Mapping[str, str], ...]
    admin: Mapping[str, str]
    operator: Mapping[str, str]
    ids: Mapping[str, str]
    visited: Mapping[str, str]
    superuser: psycopg.Connection[Any]

    def callers(self, label: str) -> tuple[Mapping[str, str], ...]:
        """The headers of everybody who may have an answer of a route."""
        if label not in VISITED:
            return self.keys
        return (self.operator if "/dashboard/admin/" in label else self.admin,)

    def id_of(self, path: str) -> str:
        """What a path's id may name; of a path that has none, anything."""
        *_, noun = path.partition("/{id}")[0].split("/")
        return (self.visited if path.startswith("/dashboard/") else self.ids).get(noun, "")

    def cases(self, label: str, mode: GenerationMode) -> SearchStrategy[Case[Any]]:
        """Requests to a route, half of them about what is there."""
        operation = OPERATIONS[label]
        anything = operation.as_strategy(generation_mode=mode)
        if "{id}" not in operation.path:
            return anything
        return st.one_of(anything, operation.as_strategy(generation_mode=mode, path_parameters={"id": self.id_of(operation.path)}))

    def named(self, case: Case[Any]) -> Case[Any]:
        """The case, with what its body must name being there."""
        if isinstance(case.body, dict):
            for name, noun in (("workspaceId", "workspaces"), ("archiveId", "archives")):
                if case.body.get(name):
                    case.body[name] = self.visited[noun]
        return case

    def answer(self, case: Case[Any], headers: Mapping[str, str]) -> schemathesis.Response:
        """The answer, in accord with the document, whoever asks and however often he manages."""
        self.superuser.execute("DELETE FROM management_use")
        return case.call_and_validate(self.url, headers=dict(headers))

    def told(self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str], body: Any) -> Any:
        """The JSON of an answer, but for its trace id."""
        self.superuser.execute("DELETE FROM management_use")
        with httpx.Client(base_url=self.url, headers=dict(headers), verify=False) as client:
            answer: dict[str, Any] = client.request(method, path, params=dict(query), json=body).json()
        return {name: value for name, value in answer.items() if name != "traceId"}


def examples(label: str) -> int:
    """How many requests a route is worth."""
    return OF_SHARED if label in SHARED else OF_DASHBOARD if label in VISITED else EXAMPLES


def example(raw: Mapping[str, Any], status: str, name: str) -> Any:
    """An operation's example of a problem, but for its trace id."""
    body: dict[str, Any] = raw["responses"][status]["content"]["application/json"]["examples"][name]["value"]
    return {name: value for name, value in body.items() if name != "traceId"}


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.base_url, timeout=60, verify=False) as client:
        yield client


@pytest.fixture(scope="module")
def visited(stack: LocalStack, client: httpx.Client) -> Producer:
    """Of the company that the dashboard's users act for."""
    return Producer(stack, client)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archive(stack: LocalStack, visited: Producer) -> AsyncIterator[str]:
    async with archived(stack, visited.tenant.id) as archive:
        yield archive


@pytest.fixture(scope="module")
def site(stack: LocalStack, client: httpx.Client, visited: Producer, archive: str) -> Iterator[Site]:
    with psycopg.connect(stack.superuser_url(), autocommit=True) as superuser:
        producer = Producer(stack, client)
        tenant, workspace = producer.tenant, producer.workspace
        bind = "UPDATE api_key SET ip_allowlist = '{127.0.0.0/8}' WHERE company_id = %s AND workspace_id IS NULL RETURNING id"
        key = superuser.execute(bind, [tenant.id]).fetchone()
        keys = tuple(bearer(each, x_internal_token=stack.internal_token) for each in (workspace.key, tenant.key))
        webhook = client.post(f"/v1/workspaces/{workspace.id}/webhooks", headers=dict(keys[1]), json=HOOK).json()["id"]
        export = client.post("/v1/exports", headers=dict(keys[0]), json=EXPORT).json()["jobId"]
        ids = {"events": producer.store()["id"], "workspaces": str(workspace.id), "keys": str(key and key[0]), "webhooks": webhook}
        ids["exports"] = export
        admin, operator = (stack.visitor(role, visited.tenant) for role in ("ADMIN", "HYRELOG_ADMIN"))
        yield Site(stack.base_url, keys, admin, operator, ids, furnished(client, visited, admin, archive), superuser)


def furnished(client: httpx.Client, producer: Producer, admin: Mapping[str, str], archive: str) -> dict[str, str]:
    """One of each thing of a company, as its admin makes them at the dashboard: their ids, by what paths call them."""

    def made(things: str, wish: Mapping[str, Any]) -> str:
        answer: dict[str, str] = client.post(f"/dashboard/{things}", headers=dict(admin), json=wish).json()
        return answer.get("jobId") or answer["id"]

    placed = {"workspaceId": str(producer.workspace.id)}
    return {
        "companies": str(producer.tenant.id),
        "workspaces": placed["workspaceId"],
        "events": producer.store()["id"],
        "keys": made("keys", {"name": "Robot", **placed}),
        "webhooks": made("webhooks", {**HOOK, **placed}),
        "exports": made("exports", EXPORT),
        "archives": archive,
        "restore-requests": made("restore-requests", {"archiveId": archive}),
    }


@pytest.mark.parametrize("label", ENDING)
def test_what_is_valid_is_taken(site: Site, label: str) -> None:
    """Or refused for who asks, or what is there; never as invalid."""
    for headers in site.callers(label):
        cases = site.cases(label, GenerationMode.POSITIVE).map(sayable).map(site.named)
        try_each(cases, partial(site.answer, headers=headers), examples=examples(label))


@pytest.mark.parametrize("label", TAKING)
def test_what_is_not_valid_is_refused(site: Site, label: str) -> None:
    """As the document says that it is refused."""
    for headers in site.callers(label):
        try_each(site.cases(label, GenerationMode.NEGATIVE), partial(site.answer, headers=headers), examples=examples(label))


@pytest.mark.parametrize("label", SECURED)
@pytest.mark.parametrize("headers", NO_GOOD_KEYS)
def test_nothing_is_told_without_a_good_key(site: Site, label: str, headers: Mapping[str, str]) -> None:
    def judge(case: Case[Any]) -> None:
        assert site.answer(case, headers).status_code == 401

    try_each(site.cases(label, GenerationMode.POSITIVE), judge, examples=1 if label in VISITED else 5)


@pytest.mark.parametrize("label", [label for label in OPERATIONS if "400" in OPERATIONS[label].definition.raw["responses"]])
def test_the_example_of_a_400_is_what_is_answered(site: Site, label: str) -> None:
    method, path = label.split()
    raw = OPERATIONS[label].definition.raw
    takes_limit = any(each["name"] == "limit" for each in raw["parameters"])
    query = {} if label in WRONG else {"limit": "201" if takes_limit else "1"}
    region = {"region": "US"} if path == "/internal/rejections" else {}
    url = path.format(id=site.id_of(path), fingerprint="0" * 16)
    headers = site.callers(label)[-1 if raw.get("security") in ([{"CompanyKey": []}], [{"DashboardToken": []}]) else 0]
    assert site.told(method, url, headers, query | region, WRONG.get(label)) == example(raw, "400", "ValidationFailed")


@pytest.mark.parametrize("label", SECURED)
def test_the_example_of_a_401_is_what_is_answered(site: Site, label: str) -> None:
    method, path = label.split()
    body = WRONG.get(label)
    told = site.told(method, path.format(id=site.ids["events"]), {}, {}, body)
    assert told == example(OPERATIONS[label].definition.raw, "401", "Unauthorized")


@pytest.mark.parametrize("label", VISITED)
def test_the_examples_of_a_wrong_role_and_an_unknown_company_are_what_is_answered(site: Site, label: str) -> None:
    method, path = label.split()
    raw = OPERATIONS[label].definition.raw
    (headers,) = site.callers(label)
    role = str(example(raw, "403", "Forbidden")["error"]).split()[2]
    told = partial(site.told, method, path.format(id=site.id_of(path)), query={}, body=WRONG.get(label))
    assert told(headers={**headers, "x-user-role": role}) == example(raw, "403", "Forbidden")
    if "{id}" not in path and "/admin/" not in path:
        assert told(headers={**headers, "x-company-id": story.COMPANY}) == example(raw, "404", "NotFound")


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_other_methods_are_refused_with_those_that_there_are(site: Site, path: str) -> None:
    known = {method.upper() for method in DOCUMENT["paths"][path]}
    if path == "/v1/events/batch":  # to the API it is an event's id, of no event
        known.add("GET")
    with httpx.Client(base_url=site.url, headers=dict(site.keys[0]), verify=False) as client:
        for method in set(METHODS) - known:
            answer = client.request(method, path.format(id=site.ids["events"], fingerprint="0" * 16))
            assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
            assert {each.strip() for each in answer.headers["allow"].split(",")} <= known
