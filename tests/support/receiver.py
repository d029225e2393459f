"""A customer's endpoint on this machine: keeps what it is sent, answers as it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from multidict import CIMultiDict


class Received(NamedTuple):
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: asyncio.BaseTransport | None = None

    @property
    def id(self) -> str:
        """The delivery's."""
        return self.headers["webhook-id"]

    @property
    def attempt(self) -> int:
        """Which one of the delivery it was."""
        return int(self.headers["x-hyrelog-attempt"])

    @property
    def data(self) -> Any:
        """What it tells of."""
        return orjson.loads(self.body)["data"]


Answer = Callable[[Received], Awaitable[web.StreamResponse]]


async def well(_received: Received) -> web.Response:
    """As a good endpoint does."""
    return web.Response(status=204)


def status(code: int, **headers: str) -> Answer:
    """Always with that status."""

    async def answer(_received: Received) -> web.Response:
        return web.Response(status=code, headers=CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))

    return answer


async def hang(_received: Received) -> web.Response:
    """Never."""
    await asyncio.Event().wait()
    return web.Response()


async def cut(received: Received) -> web.Response:
    """The connection ends instead."""
    assert isinstance(received.connection, asyncio.Transport)
    received.connection.abort()
    return web.Response()


@dataclass
class Receiver:
    """Endpoints by their path; one that is not told otherwise answers well."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    under_way: Counter[str] = field(default_factory=Counter)
    most_under_way: Counter[str] = field(default_factory=Counter)

    def url(self, path: str) -> str:
        """Where an endpoint of that path is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        """What came to it."""
        return [each for each in self.received if each.path == path]

    async def until(self, path: str, count: int, *, seconds: float = 30.0) -> list[Received]:
        """Wait until so many requests came to it."""
        async with asyncio.timeout(seconds):
            while len(found := self.at(path)) < count:
                await asyncio.sleep(0.02)
        return found

    def forget(self) -> None:
        """Everything, before others come."""
        self.received.clear()
        self.answers.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        received = Received(request.path, request.headers.copy(), await request.read(), request.transport)
        self.received.append(received)
        self.under_way[received.path] += 1
        self.most_under_way[received.path] = max(self.most_under_way[received.path], self.under_way[received.path])
        try:
            return await self.answers.get(received.path, well)(received)
        finally:
            self.under_way[received.path] -= 1


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    _host, receiver.port = runner.addresses[0]
    try:
        yield receiver
    finally:
        await runner.cleanup()
