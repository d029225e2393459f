"""A server of server-sent events that does what each test tells it to, connection by connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

PATH = "/v1/events/tail"


@dataclass(frozen=True, slots=True)
class Connection:
    """How the server treats one connection. ``then``: how it goes on, ``end`` it, ``break`` it or ``hold`` it open."""

    frames: bytes = b""
    then: str = "end"
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})


@dataclass(slots=True)
class SseServer:
    """``asked`` are the requests so far: their queries and headers."""

    url: str
    script: Sequence[Connection]
    asked: list[tuple[dict[str, str], dict[str, str]]] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """What is held open waits for it."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The next connection of the script; behind its end, the last one again."""
        number = min(len(self.asked), len(self.script) - 1)
        self.asked.append((dict(request.query), {name.lower(): value for name, value in request.headers.items()}))
        chosen = self.script[number]
        response = web.StreamResponse(status=chosen.status, headers=chosen.headers)
        await response.prepare(request)
        await response.write(chosen.frames)
        if chosen.then == "break":
            assert request.transport is not None
            request.transport.abort()
        elif chosen.then == "hold":
            await self.closing.wait()
        return response


def frame(id: str, data: dict[str, Any] | bytes, event: str = "audit-event") -> bytes:
    """A message as the API sends it."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (id.encode(), event.encode(), data if isinstance(data, bytes) else orjson.dumps(data))


def problem(status: int, sentence: str, *details: dict[str, str], **headers: str) -> Connection:
    """An answer of the API's that is no tail."""
    body = orjson.dumps({"error": sentence, "code": "X", "details": details, "traceId": "0"})
    return Connection(body, status=status, headers={"Content-Type": "application/json", **headers})


@asynccontextmanager
async def sse_server(*script: Connection) -> AsyncIterator[SseServer]:
    """The server on a free port."""
    server = SseServer("", script)
    app = web.Application()
    app.router.add_get(PATH, server.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.closing.set()
        await runner.cleanup()
