"""Run one of our HTTP apps: the same server, with the same options, in every process."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def serving(app: App, *, host: str, port: int) -> AsyncIterator[None]:
    """Serve in the caller's own loop until the block ends; for health and metrics of a process whose work is another."""
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False))
    task = asyncio.create_task(server._serve())  # `serve` would take over the signal handlers
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


def stop_on_signal(stop: asyncio.Event, *, grace: float) -> None:
    """Set ``stop`` at SIGTERM or SIGINT; ``grace`` seconds later the process ends, whatever is away and keeps it waiting."""

    def on_signal() -> None:
        stop.set()
        end_within(grace, 0)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)


def end_within(seconds: float, code: int) -> None:
    """End the process with that exit code when its graceful way takes longer."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
