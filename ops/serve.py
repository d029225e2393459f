"""Run one of our HTTP apps: the same server, with the same options, in every process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ops.collector import calm_collector

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BACKLOG = 2048
_SHUTDOWN_SECONDS = 20
_DATE_SECONDS = 1.0


ABORT = "hyrelog.abort"
"""The ASGI extension whose ``call`` cuts a client's connection off, with whatever it has not read."""


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}

    def on_header(self, name: bytes, value: bytes) -> None:
        # httptools leaves the white space behind a value in it; it is no part of it (RFC 9110 §5.5).
        super().on_header(name, value.rstrip(b" \t"))


class _CalmServer(uvicorn.Server):
    """Stock: looks ten times a second whether it has to end, which costs an idle process 1.5 ms of CPU each second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Until it has to end. The header ``Date`` is made anew each second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_SECONDS):
                    await self._ending.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_soon_threadsafe(self._ending.set)

    def end(self) -> None:
        """Begin to shut down."""
        self.should_exit = True
        self._ending.set()


class _Server(_CalmServer):
    """Says when it stops before it waits for the requests under way: streams have no end of their own."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


def serve(app: App, *, host: str, port: int, stopping: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM; ``stopping`` is set then, and requests under way have 20 s to end. Logging must be configured before."""
    calm_collector()
    _raise_file_limit()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=_Protocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who the client is, trusted proxies decide, and not the server in front of the app
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    _Server(config, stopping or asyncio.Event()).run()


def _raise_file_limit() -> None:
    """As far as we may: each connection is a file, and many systems begin at 1,024."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@asynccontextmanager
async def serving(app: App, *, host: str, port: int) -> AsyncIterator[None]:
    """Serve in the caller's own loop until the block ends; for health and metrics of a process whose work is another.

    Raises the process's limit of files too, as ``serve`` does: its work may need more of them than its server.
    """
    _raise_file_limit()
    server = _CalmServer(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False))
    task = asyncio.create_task(server._serve())  # `serve` would take over the signal handlers
    try:
        yield
    finally:
        server.end()
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
