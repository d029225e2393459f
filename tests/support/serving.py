"""One of our apps on a free port, in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client to the app, lifespan and all."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="on", proxy_headers=False))
    serving = asyncio.create_task(server._serve())  # `serve` would take over the signal handlers
    while not server.started:
        if serving.done():
            serving.result()
            raise RuntimeError("the app did not start")
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        # Without TLS there is nothing to verify, and reading the CA store takes longer than most tests.
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
