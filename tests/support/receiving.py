"""Servers on this machine that requests are sent to: each answers with bytes as they stand, and remembers what it saw."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Behaviour: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """``requests`` are head and body; ``connections`` counts all that were opened, whatever came over them."""

    port: int = 0
    connections: int = 0
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, host: str = "127.0.0.1", rest: str = "/hook", scheme: str = "http") -> str:
        """A URL that leads here."""
        return f"{scheme}://{host}:{self.port}{rest}"


def answering(answer: bytes) -> Behaviour:
    """Write those bytes to each request."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return write


def closing(answer: bytes) -> Behaviour:
    """Write those bytes and close the connection."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    return write


@asynccontextmanager
async def receiving(
    behaviour: Behaviour | None = None, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """A server that treats every request so; by default it says 200."""
    receiver = Receiver()
    behave = behaviour or answering(OK)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                receiver.requests.append(await _read(reader))
                await behave(writer)
        writer.close()
        receiver.closed.set()

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def _read(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = next(int(line.partition(":")[2]) for line in head.split("\r\n") if line.lower().startswith("content-length:"))
    return head, await reader.readexactly(length)
