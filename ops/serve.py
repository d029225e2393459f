"""Run one of our HTTP apps: the same server, with the same options, in every process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from ops.collector import calm_collector

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BACKLOG = 2048
_SHUTDOWN_SECONDS = 20


def serve(app: App, *, host: str, port: int) -> None:
    """Serve until SIGTERM; requests under way then have 20 s to end. Logging must be configured before."""
    calm_collector()
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who the client is, trusted proxies decide, and not the server in front of the app
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
