"""The links do to connections what the faults say of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.link import Fate, Link, Trap, Way


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers with what it gets: its port and all it got."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            got.append(piece)
            writer.write(piece)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], got


@pytest_asyncio.fixture
async def link(echo: tuple[int, list[bytes]]) -> AsyncIterator[Link]:
    async with Link(lambda: echo[0]).listening() as link:
        yield link


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, message: bytes) -> bytes:
        """The echo; nothing when the connection was cut."""
        self._writer.write(message)
        try:
            return await self._reader.read(100)
        except ConnectionError:
            return b""

    def close(self) -> None:
        self._writer.transport.abort()


@pytest_asyncio.fixture
async def connection(link: Link) -> AsyncIterator[_Connection]:
    connection = _Connection(*await asyncio.open_connection("127.0.0.1", link.port))
    assert await connection.ask(b"hello") == b"hello"
    yield connection
    connection.close()


async def test_a_cut_ends_connections_and_says_how_many(link: Link, connection: _Connection) -> None:
    assert link.cut() == 1
    assert await connection.ask(b"more") == b""


async def test_a_hung_link_lets_nothing_through_and_is_cut_when_healed(
    link: Link, connection: _Connection, echo: tuple[int, list[bytes]]
) -> None:
    assert link.hang() == 1
    asking = asyncio.create_task(connection.ask(b"more"))
    done, _ = await asyncio.wait({asking}, timeout=0.1)
    assert not done
    assert echo[1] == [b"hello"]
    link.heal()
    assert await asking == b""


@pytest.mark.parametrize(("fate", "arrived"), [(Fate.REQUEST_LOST, []), (Fate.ANSWER_LOST, [b"COMMIT;"])])
async def test_a_trap_loses_the_request_or_just_the_answer(
    link: Link, connection: _Connection, echo: tuple[int, list[bytes]], fate: Fate, arrived: list[bytes]
) -> None:
    trap = link.set_trap(Trap(Way.TO_SERVER, b"COMMIT;", fate))
    assert await connection.ask(b"SELECT;") == b"SELECT;"
    assert not trap.sprung.is_set()
    assert await connection.ask(b"COMMIT;") == b""
    assert trap.sprung.is_set()
    assert echo[1] == [b"hello", b"SELECT;", *arrived]
