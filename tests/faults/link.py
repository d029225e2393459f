"""A TCP proxy between one client and one server, through which connections can be cut, hung, slowed and trapped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum

_READ_BYTES = 64 << 10


class Way(Enum):
    """A direction of traffic."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Fate(Enum):
    """What becomes of a connection whose traffic sprang a trap."""

    GOES_ON = "goes on"
    REQUEST_LOST = "request lost"
    """Cut before the server saw the bytes."""
    ANSWER_LOST = "answer lost"
    """The server gets the bytes and answers; the client sees a cut connection instead."""


@dataclass(slots=True)
class Trap:
    """Waits for bytes on their way; the first connection to carry them springs it, once."""

    way: Way
    pattern: bytes
    fate: Fate
    act: Callable[[], None] = lambda: None
    """Done at once, before the bytes go on."""
    sprung: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    answer_is_lost: bool = False

    def abort(self) -> None:
        for side in (self.client, self.server):
            side.transport.abort()


class Link:
    """One proxy. ``target`` gives the server's port at the time of each connection, as servers move."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._trap: Trap | None = None
        self.delay = 0.0
        """Seconds that every piece of traffic is late."""
        self.port = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Link]:
        """Serve on a free port of the loopback interface."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.heal()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """Reset every connection; new ones are welcome. Returns how many there were."""
        count = len(self._connections)
        for connection in self._connections:
            connection.abort()
        return count

    def hang(self) -> int:
        """Let nothing through, on new connections too, and tell nobody. Returns how many connections hang."""
        self._flowing.clear()
        return len(self._connections)

    def heal(self) -> None:
        """End all faults. Connections that hung are reset: a half-open one never comes to life again."""
        if not self._flowing.is_set():
            self.cut()
        self._flowing.set()
        self._trap = None
        self.delay = 0.0

    def set_trap(self, trap: Trap) -> Trap:
        """Arm a trap, in place of one that was not sprung."""
        self._trap = trap
        return trap

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except OSError:
            pass  # the server is down or the connection was cut: the client notices
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._target())
        connection = _Connection(writer, to_server)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(connection, reader, to_server, Way.TO_SERVER))
                both.create_task(self._pump(connection, upstream, writer, Way.TO_CLIENT))
        except* OSError:
            pass
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _pump(self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way) -> None:
        while piece := await source.read(_READ_BYTES):
            await self._flowing.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            if connection.answer_is_lost and way is Way.TO_CLIENT:
                break
            if not self._passes(connection, piece, way):
                break
            sink.write(piece)
            await sink.drain()
        connection.abort()

    def _passes(self, connection: _Connection, piece: bytes, way: Way) -> bool:
        trap = self._trap
        if trap is None or trap.way is not way or trap.pattern not in piece:
            return True
        self._trap = None
        trap.act()
        trap.sprung.set()
        connection.answer_is_lost = trap.fate is Fate.ANSWER_LOST
        return trap.fate is not Fate.REQUEST_LOST
