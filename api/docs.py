"""``/openapi.json`` and ``/docs``: one document of the whole HTTP API, and a page of it that needs no script and no other site."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from api.page import POLICY, render
from ops.auth import WrongAddress
from ops.web import is_open
from schemas.ingest_openapi import COMPONENTS, PATHS
from schemas.problems import Problem, RateLimited

_DESCRIPTION = """HyreLog keeps an audit log that nobody can change unseen: every event is a link of its workspace's hash chain.

Ids are lower-case UUIDs. Times are RFC 3339: sent with an offset and at most six decimals, answered with six decimals and `Z`.
Ids, times, `category`, `action`, `outcome`, `tenantId` and `traceId` are on the chain for ever: put no personal data there.
Every answer carries `X-Trace-Id`, and all but those of health what is left of a limit. Clients must ignore fields that they don't know."""

_LIMIT_HEADERS = {
    "X-RateLimit-Limit": {
        "description": "How much is allowed in a minute, by the limit with the least left; 1,000,000,000 where there is none.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Remaining": {"description": "How much of it is left.", "schema": {"type": "integer", "minimum": 0}},
    "X-RateLimit-Reset": {"description": "When the minute ends.", "schema": {"type": "string", "format": "date-time"}},
}


def install(app: FastAPI) -> None:
    """Add both routes. The document is made when first asked for, of all routes the app has by then."""

    @cache
    def document() -> dict[str, Any]:
        found = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
        for path, operations in PATHS.items():
            found["paths"][path] = {**operations, **found["paths"].get(path, {})}
        found["components"]["schemas"] |= COMPONENTS
        _drop_validation_errors(found)
        _add_limits(found)
        return found

    @cache
    def page() -> bytes:
        return render(document()).encode()

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(orjson.dumps(document()), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        return Response(page(), headers=headers, media_type="text/html")


def _drop_validation_errors(document: dict[str, Any]) -> None:
    """FastAPI documents a 422 wherever something is checked; here that is a 400 of our own shape."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _add_limits(document: dict[str, Any]) -> None:
    """What the door answers before any route is asked."""
    document["components"]["headers"] = _LIMIT_HEADERS
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _LIMIT_HEADERS}
    limited = (operation for path, operations in document["paths"].items() if not is_open(path) for operation in operations.values())
    for operation in limited:
        answers = operation["responses"]
        for problem in (RateLimited, WrongAddress) if operation.get("security") else (RateLimited,):
            answers.setdefault(str(problem.code.status), _refusal(problem))
        for status, answer in answers.items():
            answers[status] = {**answer, "headers": headers}


def _refusal(problem: type[Problem]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": f"{problem.code}: {problem.__doc__}", "content": {"application/json": {"schema": schema}}}
