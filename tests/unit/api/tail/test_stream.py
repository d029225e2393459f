"""A stream whose client reads nothing: it is known to wait in every send, the one that ends it too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from api.tail.client import Client, Ended
from api.tail.stream import Stream
from ops.serve import ABORT, Message


class Lasting:
    """A client that is told nothing until it ends."""

    def __init__(self) -> None:
        self.ended: Ended | None = None
        self._over = asyncio.Event()

    def end(self, reason: Ended) -> None:
        self.ended = self.ended or reason
        self._over.set()

    async def run(self, send: Callable[[bytes], object]) -> None:
        await self._over.wait()


class Connection:
    """One whose peer reads all messages but those of one kind, and waits there until it is cut."""

    def __init__(self, unread: Callable[[Message], bool]) -> None:
        self.is_waiting, self.is_cut = asyncio.Event(), asyncio.Event()
        self._unread = unread

    async def send(self, message: Message) -> None:
        if self._unread(message):
            self.is_waiting.set()
            await self.is_cut.wait()

    async def receive(self) -> Message:
        await self.is_cut.wait()
        return {"type": "http.disconnect"}

    @property
    def scope(self) -> dict[str, Any]:
        return {"type": "http", "extensions": {ABORT: {"call": self.is_cut.set}}}


def _is_start(message: Message) -> bool:
    return bool(message["type"] == "http.response.start")


def _is_end(message: Message) -> bool:
    return not _is_start(message) and not message.get("more_body")


@pytest.mark.parametrize("unread", [_is_start, _is_end])
async def test_one_that_reads_neither_start_nor_end_can_be_cut(unread: Callable[[Message], bool]) -> None:
    over = list[Stream]()
    connection, client = Connection(unread), Lasting()
    stream = Stream(cast("Client", client), 60.0, over.append)
    running = asyncio.create_task(stream(connection.scope, connection.receive, connection.send))
    client.end(Ended.KEY)
    await connection.is_waiting.wait()
    assert stream.blocked_since is not None
    assert not over
    stream.cut(Ended.SLOW)
    await running
    assert over == [stream]
    assert stream.blocked_since is None
