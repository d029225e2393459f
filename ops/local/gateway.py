"""The local gateway: ingest and the API as two apps behind one port, as a proxy has them in production.

``python -m ops.local.gateway STATE`` serves the stack of that state directory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from ops import log
from ops.local import joint
from ops.local.environment import Role, service_settings
from ops.local.merged import MergedRegistry
from ops.local.state import State
from ops.serve import App, Message, Receive, Scope, Send, serve
from ops.traced import traced

_INGEST_PATHS = frozenset({"/v1/events", "/v1/events/batch"})


class LifespanError(Exception):
    """An app refused to start or to stop; the message is its own."""


class Mounted:
    """An app with the state that its own lifespan made."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._state: dict[str, Any] = {}

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request over."""
        scope["state"] = self._state.copy()
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The app's lifespan. Raises :class:`LifespanError` when the app says that it failed."""
        to_app: asyncio.Queue[Message] = asyncio.Queue(2)
        from_app: asyncio.Queue[Message] = asyncio.Queue(2)
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        async with asyncio.TaskGroup() as group:
            group.create_task(_run(self._app(scope, to_app.get, from_app.put)))
            await _ask(to_app, from_app, "startup")
            yield
            await _ask(to_app, from_app, "shutdown")


async def _run(app: Awaitable[None]) -> None:
    await app


async def _ask(to_app: asyncio.Queue[Message], from_app: asyncio.Queue[Message], what: str) -> None:
    await to_app.put({"type": f"lifespan.{what}"})
    answer = await from_app.get()
    if answer["type"] != f"lifespan.{what}.complete":
        raise LifespanError(answer.get("message") or f"{what} failed")


class Dispatcher:
    """Sends ``POST /v1/events`` and ``/v1/events/batch`` to ingest and all else to the API; whether all is well, both are asked."""

    def __init__(self, ingest: App, api: App) -> None:
        self._ingest = Mounted(ingest)
        self._api = Mounted(api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in _INGEST_PATHS:
            await self._ingest.serve(scope, receive, send)
        elif scope["path"] in joint.PATHS:
            await joint.serve_joint(self._api.serve, self._ingest.serve, scope, receive, send)
        else:
            await self._api.serve(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            await stack.enter_async_context(self._ingest.running())
            await stack.enter_async_context(self._api.running())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def build(state: State, stopping: asyncio.Event) -> Dispatcher:
    """Both apps on the stack's settings, each in its own database role; the API's metrics tell ingest's too.

    The API's streams end when ``stopping`` is set.
    """
    ingest_registry = CollectorRegistry()
    for_ingest, for_api = service_settings(state, Role.INGEST), service_settings(state, Role.API)
    ingest = _factory("ingest.app")(for_ingest, registry=ingest_registry)
    api = _factory("api.app")(for_api, registry=MergedRegistry(ingest_registry), stopping=stopping)
    return Dispatcher(traced(ingest, for_ingest, "hyrelog-ingest", literal=_INGEST_PATHS), traced(api, for_api, "hyrelog-api"))


def _factory(module: str) -> Callable[..., App]:
    factory: Callable[..., App] = import_module(module).create_app
    return factory


def main() -> None:
    """Serve until SIGTERM."""
    state = State(Path(sys.argv[1]))
    log.configure(service_settings(state, Role.API).log_level, "gateway")
    stopping = asyncio.Event()
    serve(build(state, stopping), host="127.0.0.1", port=state.port("gateway"), stopping=stopping)


if __name__ == "__main__":
    main()
