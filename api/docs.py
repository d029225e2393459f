"""``/openapi.json`` and ``/docs``: one document of the whole HTTP API, and a page of it that needs no script and no other site."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from api.page import POLICY, render
from schemas.ingest_openapi import COMPONENTS, PATHS

_DESCRIPTION = """HyreLog keeps an audit log that nobody can change unseen: every event is a link of its workspace's hash chain.

Ids are lower-case UUIDs. Times are RFC 3339: sent with an offset and at most six decimals, answered with six decimals and `Z`.
Ids, times, `category`, `action`, `outcome`, `tenantId` and `traceId` are on the chain for ever: put no personal data there.
Every answer carries `X-Trace-Id`. Clients must ignore fields that they don't know."""


def install(app: FastAPI) -> None:
    """Add both routes. The document is made when first asked for, of all routes the app has by then."""

    @cache
    def document() -> dict[str, Any]:
        found = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
        for path, operations in PATHS.items():
            found["paths"][path] = {**operations, **found["paths"].get(path, {})}
        found["components"]["schemas"] |= COMPONENTS
        _drop_validation_errors(found)
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
