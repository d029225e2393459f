"""``/openapi.json`` and ``/docs``: one document of the whole HTTP API, and a page of it that needs no script and no other site."""

from __future__ import annotations

from functools import cache

import orjson
from fastapi import FastAPI, Response

from api.document import build
from api.page import POLICY, render


def install(app: FastAPI) -> None:
    """Add both routes. The document is made when first asked for, of all routes the app has by then."""

    @cache
    def document() -> bytes:
        return orjson.dumps(build(app))

    @cache
    def page() -> bytes:
        return render(orjson.loads(document())).encode()

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(document(), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        return Response(page(), headers=headers, media_type="text/html")
