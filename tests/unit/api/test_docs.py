"""The OpenAPI document and its page: whole, true to its own shapes, and without anything from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any, cast

import httpx
import jsonschema
import orjson
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from openapi_spec_validator import validate
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from api import story_events
from api.app import create_app
from api.dashboard.route import DashboardRoute
from ingest import app as ingest
from ops.clock import SystemClock
from ops.dashboard_door import NOT_THE_DASHBOARD
from ops.limits import Badge
from ops.metrics import Metrics
from schemas.leaf import commitment, leaf_hash, leaf_of
from schemas.problems import Code
from tests.support.documents import any_settings

SUCCESSES = ("200", "201", "202")
OPEN = ("/", "/health", "/ready")
NO_JSON = ("text/plain", "text/html", "application/x-ndjson")


@pytest.fixture
def app() -> FastAPI:
    return create_app(any_settings())


@pytest.fixture
def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``get /v1/events`` and its entry."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every body of every request and answer: where it stands, its media type, its content."""
    for name, operation in operations(document):
        found = {"request": operation["requestBody"]} if "requestBody" in operation else {}
        for status, body in {**found, **operation["responses"]}.items():
            for kind, content in body["content"].items():
                yield f"{name} {status}", kind, content


def examples_of(content: dict[str, Any]) -> list[Any]:
    return [content["example"]] if "example" in content else [each["value"] for each in content.get("examples", {}).values()]


def strictly(schema: dict[str, Any], document: dict[str, Any]) -> jsonschema.Draft202012Validator:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]}, format_checker=checker)


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


async def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(cast("Any", document))


async def test_every_route_of_both_apps_is_in_it_and_nothing_more(app: FastAPI, document: dict[str, Any]) -> None:
    routes = {
        f"{method.lower()} {route.path_format}"
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or ())
        if route.path
    }
    own = ingest.IngestApp(any_settings(), CollectorRegistry(), SystemClock())
    routes |= {f"get {route.path_format}" for route in iter_route_contexts(own.operations.routes)} | {
        f"post {path}" for path in ingest.ROUTES
    }
    assert {name for name, _ in operations(document)} == routes


async def test_every_component_is_used(document: dict[str, Any]) -> None:
    used = references(document)
    for kind in ("schemas", "headers"):
        assert {f"#/components/{kind}/{name}" for name in document["components"][kind]} == {each for each in used if f"/{kind}/" in each}


async def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["operationId"].isidentifier(), name
        assert set(operation["tags"]) <= tags, name
    names = [operation[member] for _, operation in operations(document) for member in ("summary", "operationId")]
    assert sorted(set(names)) == sorted(names)


async def test_every_parameter_is_described_and_has_a_true_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            where = f"{name} {parameter['name']}"
            assert parameter["description"], where
            strictly(parameter["schema"], document).validate(parameter["example"])


async def test_every_body_has_examples_and_all_are_true_to_its_shape(document: dict[str, Any]) -> None:
    for where, kind, content in bodies(document):
        assert examples_of(content), where
        for example in examples_of(content):
            if kind not in NO_JSON:
                strictly(content["schema"], document).validate(example)


async def test_every_line_of_the_ndjson_example_is_an_event(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/events/batch"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    for line in content["example"].splitlines():
        strictly({"$ref": "#/components/schemas/IncomingEvent"}, document).validate(orjson.loads(line))


async def test_every_error_example_is_of_a_code_of_its_status(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status in SUCCESSES or (name, status) == ("get /ready", "503"):
                continue
            codes = [example["code"] for example in examples_of(answer["content"]["application/json"])]
            assert {str(Code[code].status) for code in codes} == {status}, name
            assert set(codes) == set(answer["content"]["application/json"]["schema"]["properties"]["code"]["enum"]), name


def test_the_hashes_of_the_example_event_are_true() -> None:
    """Whoever tries the verification on it must succeed."""
    event = story_events.event()
    assert leaf_hash(leaf_of(event)) == event.hash
    assert all(group.sealed and commitment(group.sealed) == group.commitment for group in (event.actor, event.context) if group)


async def test_each_route_lists_the_errors_of_what_it_takes(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        statuses = set(operation["responses"]) - set(SUCCESSES)
        path, ways = name.split()[1], operation.get("security", [])
        keyed = bool(ways) and ways != [{"InternalToken": []}]
        assert "500" in statuses, name
        assert ({"401"} <= statuses) == bool(ways), name
        assert ({"403", "503"} <= statuses) == keyed, name
        assert ("429" in statuses) == (path not in OPEN and not path.startswith("/internal/")), name
        assert ({"408", "413", "415"} <= statuses) == ("requestBody" in operation), name
        assert "404" in statuses or "{" not in path, name
        assert "400" in statuses or not (operation.get("parameters") or "requestBody" in operation), name


async def test_every_answer_has_its_headers(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        path = name.split()[1]
        limited = path not in OPEN and not path.startswith("/internal/")
        for status, answer in operation["responses"].items():
            assert "X-Trace-Id" in answer["headers"], name
            assert ("X-RateLimit-Remaining" in answer["headers"]) == limited, name
            assert ("Retry-After" in answer["headers"]) == (status in ("429", "503")), name
            assert ("WWW-Authenticate" in answer["headers"]) == (status == "401"), name


async def test_422_is_nowhere_and_every_status_is_one_of_ours(document: dict[str, Any]) -> None:
    ours = {str(code.status) for code in Code} | set(SUCCESSES)
    for name, operation in operations(document):
        assert operation["responses"].keys() <= ours, name


async def test_who_may_call_is_said_of_each_route(document: dict[str, Any]) -> None:
    def ways(path: str, method: str = "get") -> list[str]:
        return [name for way in document["paths"][path][method].get("security", []) for name in way]

    assert ways("/v1/events", "post") == ["WorkspaceKey"]
    assert ways("/v1/events") == ["WorkspaceKey", "CompanyKey"]
    assert ways("/v1/workspaces/{id}/keys", "post") == ["CompanyKey"]
    assert ways("/internal/rejections") == ways("/internal/metrics") == ["InternalToken"]
    assert ways("/v1/schemas/{fingerprint}") == ways("/ready") == []
    assert ways("/dashboard/events") == ways("/dashboard/admin/companies") == ["DashboardToken"]


async def test_each_route_of_the_dashboard_says_who_may_call_it_and_for_whom(app: FastAPI, document: dict[str, Any]) -> None:
    """In its text, its parameters, and the answers to those who may not."""
    routes = [each for each in iter_route_contexts(app.routes) if isinstance(each.original_route, DashboardRoute)]
    assert routes
    for each in routes:
        route = cast("DashboardRoute", each.original_route)
        for method in each.methods or ():
            operation = document["paths"][each.path_format][method.lower()]
            assert f"`{route.name}`" in operation["description"]
            assert all(f"`{role}`" in operation["description"] for role in route.roles)
            headers = {one["name"]: one for one in operation["parameters"] if one["in"] == "header" and one["required"]}
            of_company = {"x-company-id"} if Badge.COMPANIES in route.badge else set()
            assert headers.keys() == {"x-user-id", "x-user-email", "x-user-role"} | of_company
            assert headers["x-user-role"]["schema"]["enum"] == list(route.roles)
            assert said(operation, "401", "Unauthorized") == NOT_THE_DASHBOARD
            refused = re.fullmatch(r"The role (\w+) may not do that\.", said(operation, "403", "Forbidden"))
            assert refused
            assert refused[1] not in route.roles
            assert not of_company or "404" in operation["responses"]


def said(operation: dict[str, Any], status: str, problem: str) -> str:
    """The sentence of an example, which the answer's description must have too."""
    answer = operation["responses"][status]
    text: str = answer["content"]["application/json"]["examples"][problem]["value"]["error"]
    assert text in answer["description"]
    return text


async def test_the_page_shows_every_route_and_loads_nothing(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    page = await client.get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"<script|<link|<img|(src|href)=\"https?://|style=", page.text)
    for name, operation in operations(document):
        assert f"<code>{name.split()[1]}</code>" in page.text
        assert escape(operation["summary"]) in page.text


async def test_the_root_says_what_this_is(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).json().keys() == {"service", "version", "status"}
    assert (await client.get("/", params={"x": "1"})).status_code == 400


def test_the_metrics_of_the_example_are_ours(document: dict[str, Any]) -> None:
    example = document["paths"]["/internal/metrics"]["get"]["responses"]["200"]["content"]["text/plain"]["example"]
    names = {family.name for family in Metrics(CollectorRegistry()).registry.collect()}
    assert {family.name for family in text_string_to_metric_families(example)} <= {f"{name}_total" for name in names} | names
