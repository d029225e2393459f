"""Clients of the tail, with connections that a test may cut."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from ops.tail.parser import Message, Parser

PATH = "/v1/events/tail"
EVENT, GAP = "audit-event", "gap"
_PATIENCE = 30.0


class Cut(Exception):
    """The stream has ended; ``is_clean``: as HTTP ends an answer."""

    def __init__(self, *, is_clean: bool) -> None:
        super().__init__(is_clean)
        self.is_clean = is_clean


@dataclass(slots=True)
class Connection:
    """One open stream."""

    response: aiohttp.ClientResponse
    parser: Parser
    position: str
    """Behind the last message that was taken."""
    _messages: deque[Message] = field(default_factory=deque)

    @property
    def here(self) -> str:
        """The last id that arrived."""
        return self.parser.last_event_id

    async def next(self) -> Message:
        """The next message with data. Raises ``Cut``."""
        while not self._messages:
            await self._read()
        message = self._messages.popleft()
        self.position = message.id
        return message

    async def event(self) -> Any:
        """The next message, which has to be an event."""
        message = await self.next()
        assert message.event == EVENT, message
        return orjson.loads(message.data)

    async def events(self, count: int) -> list[Any]:
        """The next events."""
        return [await self.event() for _ in range(count)]

    async def gap(self) -> Any:
        """The next message, which has to be a gap."""
        message = await self.next()
        assert message.event == GAP, message
        return orjson.loads(message.data)

    @property
    def waiting(self) -> int:
        """How many messages arrived and were not taken."""
        return len(self._messages)

    async def begun(self) -> None:
        """Read until the stream has said where it stands."""
        before = self.here
        while self.here == before and not self._messages:
            await self._read()

    async def end(self) -> bool:
        """Read until it ends; whether it does as HTTP ends an answer."""
        while True:
            try:
                await self._read()
            except Cut as cut:
                return cut.is_clean

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                piece = await self.response.content.readany()
        except aiohttp.ClientError as error:
            raise Cut(is_clean=False) from error
        if not piece:
            raise Cut(is_clean=True)
        self._messages.extend(self.parser.feed(piece))


@asynccontextmanager
async def tailing(url: str, key: str | None, position: str = "", **parameters: str) -> AsyncIterator[Connection]:
    """A stream that has begun: what happens from now on is in it."""
    async with asking(url, key, position, **parameters) as response:
        assert response.status == 200, await response.text()
        connection = Connection(response, Parser(), position)
        await connection.begun()
        yield connection


@asynccontextmanager
async def asking(url: str, key: str | None, position: str = "", **parameters: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to a request for a stream, cut off at the end of the block."""
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": position} if position else {})
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=5)) as session:
        response = await session.get(url + PATH, params=parameters, headers=headers)
        try:
            yield response
        finally:
            response.close()
