"""The OpenAPI document of both apps: what FastAPI knows of the API's routes, what ingest and the operations say of theirs,
and for each who may call, what the door may answer, its headers and its examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from api import examples
from api.audited import CompanyRoute
from api.dashboard import document as dashboard
from api.dashboard import shared
from api.dashboard.route import DashboardRoute
from ops.auth import WrongAddress
from ops.health import NOT_INTERNAL
from ops.web import is_open
from schemas import ingest_openapi, operations_openapi
from schemas.openapi import (
    COMPANY_KEY,
    ERROR,
    HEADERS,
    INTERNAL_TOKEN,
    OF_STATUS,
    SECURITY_SCHEMES,
    WORKSPACE_KEY,
    Json,
    merge,
    reference,
    refusals,
    say,
)
from schemas.problems import Problem, RateLimited, Unauthorized, Unavailable

_DESCRIPTION = """HyreLog keeps an audit log in which every event is a link of its workspace's hash chain.
Given one head of a chain that you noted earlier, what was changed, dropped or slipped in up to it is found.

Ids are lower-case UUIDs. Times are RFC 3339: sent with an offset and at most six decimals, answered with six decimals and `Z`.
Ids, times, `category`, `action`, `outcome`, `tenantId` and `traceId` are on the chain for ever: put no personal data there.
Every answer carries `X-Trace-Id`, and all but those of health what is left of a limit. Clients must ignore fields that they don't know.

Where a request is not one of a route listed here, the answer is 404 NOT_FOUND, or 405 METHOD_NOT_ALLOWED with `Allow`."""

_TAGS = {
    "events": "Recording events and finding them again.",
    "workspaces": "Workspaces, their projects and the heads of their chains.",
    "rejections": "What was accepted and could not be stored. Nothing is dropped in silence.",
    "keys": "API keys: made, rotated, looked at.",
    "webhooks": "Endpoints that stored events are posted to, and what became of each delivery.",
    "exports": "Events in bulk, as of one moment: JSONL that can be verified, CSV or Parquet.",
    "dashboard": "What a service that vouches for its users asks for a company: `x-dashboard-token`, `x-user-id`, `x-user-email`, "
    "`x-user-role` (MEMBER reads, ADMIN manages and exports too), `x-company-id`. Every call is audited, reads too.",
    "admin": "What the operator's people do about companies, in all regions: the same headers without a company, role HYRELOG_ADMIN.",
    "schemas": "The Avro schemas of the Kafka topics.",
    "operations": "What this is, whether it is well, and its documents.",
}
_SERVER: Json = {
    "url": "{baseUrl}",
    "description": "Your HyreLog.",
    "variables": {"baseUrl": {"default": "http://127.0.0.1:3000", "description": "Where it is served; this is where `make demo` does."}},
}
_KEYED: tuple[type[Problem], ...] = (Unauthorized, WrongAddress, RateLimited, Unavailable)
"""What the door may answer where a key is asked for."""
_LIMITED_HEADERS = ("X-Trace-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def build(app: FastAPI) -> Json:
    """The document of all routes that the app has now, and of ingest's."""
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes, servers=[_SERVER])
    _name(document, app)
    for more in (ingest_openapi, operations_openapi):
        for path, operations in more.PATHS.items():
            document["paths"][path] = document["paths"].get(path, {}) | deepcopy(operations)
    _add_components(document)
    document["paths"] = dict(sorted(document["paths"].items(), key=_place))
    originals = shared.originals()
    for path, method, operation in operations_of(document):
        _describe(document, operation)
        _add_answers(path, operation)
        _tidy_parameters(path, operation)
        _add_examples(originals.get(name := f"{method} {path}", name), operation)
    used = {tag for _, _, operation in operations_of(document) for tag in operation["tags"]}
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items() if name in used]
    return document


def operations_of(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Path, method and entry of each operation."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _name(document: Json, app: FastAPI) -> None:
    """FastAPI's entries get the names of their functions, and say who may call."""
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is None:
                continue
            name = getattr(route.endpoint, "__name__", "")
            if isinstance(route.original_route, DashboardRoute):
                operation["operationId"] = f"dashboard_{name}"
                dashboard.describe(operation, route.original_route)
                continue
            operation["operationId"] = name
            if WORKSPACE_KEY in operation.get("security", ()):
                is_companys = isinstance(route.original_route, CompanyRoute)
                operation["security"] = [COMPANY_KEY] if is_companys else [WORKSPACE_KEY, COMPANY_KEY]


def _add_components(document: Json) -> None:
    components = document["components"]
    schemas = components["schemas"]
    schemas |= deepcopy({"Error": ERROR, **ingest_openapi.COMPONENTS, **operations_openapi.COMPONENTS})
    for _, _, operation in operations_of(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if name := content["schema"].get("title"):
                schemas |= content["schema"].get("$defs", {})
                schemas[name] = {member: value for member, value in content["schema"].items() if member != "$defs"}
                content["schema"] = reference(name)
    # FastAPI documents a 422 wherever something is checked; here that is a 400 of our own shape.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _drop_titles(schemas)
    components |= {"headers": HEADERS, "securitySchemes": SECURITY_SCHEMES}


def _drop_titles(value: object) -> None:
    """The titles that pydantic makes of names say nothing that the names do not."""
    if isinstance(value, dict):
        if isinstance(value.get("title"), str):
            del value["title"]
        for member in value.values():
            _drop_titles(member)
    elif isinstance(value, list):
        for member in value:
            _drop_titles(member)


def _place(entry: tuple[str, Json]) -> int:
    """Where a path stands among those of other tags."""
    operation = next(iter(entry[1].values()))
    return list(_TAGS).index(operation["tags"][0])


def _describe(document: Json, operation: Json) -> None:
    """A success is described as its shape is, where nothing else was said."""
    schemas = document["components"]["schemas"]
    for answer in operation["responses"].values():
        if answer["description"] == "Successful Response":
            shape = answer["content"]["application/json"]["schema"]
            names = [option.get("$ref", "").rpartition("/")[2] for option in shape.get("anyOf", [shape])]
            answer["description"] = " ".join(schemas[name]["description"] for name in names if name in schemas) or "Success."


def _add_answers(path: str, operation: Json) -> None:
    """What the door may answer before any route is asked, and the headers of every answer."""
    answers = operation["responses"]
    answers.pop("422", None)
    keyed = any(way in (WORKSPACE_KEY, COMPANY_KEY) for way in operation.get("security", ()))
    if not is_open(path):
        merge(answers, refusals(_KEYED if keyed else (RateLimited,)))
    always = ("X-Trace-Id",) if is_open(path) else _LIMITED_HEADERS
    for status, answer in answers.items():
        named = {name: reference(name, "headers") for name in (*always, *OF_STATUS.get(status, ()))}
        answers[status] = {**answer, "headers": answer.get("headers", {}) | named}
    operation["responses"] = dict(sorted(answers.items()))


def _tidy_parameters(path: str, operation: Json) -> None:
    """What is left out can't be null in a URL; a default is of the type that is sent; each has an example."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
        if len(options) == 1:
            schema = options[0]
        kept = {name: value for name, value in schema.items() if name not in ("title", "description")}
        if kept.get("format") == "date-time":
            kept.pop("default", None)
        parameter["schema"] = kept
        parameter.update(examples.parameter(path, parameter["name"]))


def _add_examples(name: str, operation: Json) -> None:
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        for content in body.get("content", {}).values():
            if not content.keys() & {"example", "examples"}:
                content.update(examples.of(content["schema"], name))
    if invalid := operation["responses"].get("400"):
        (answer,) = invalid["content"]["application/json"]["examples"].values()
        answer["value"]["details"] = [examples.finding(name, operation)]
    if INTERNAL_TOKEN in operation.get("security", ()):
        say(operation["responses"], Unauthorized, NOT_INTERNAL)
