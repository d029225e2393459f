"""Clients of the live tail, thousands in one process: they note how many events came, up to which seq, and when, and parse no more.

``python -m tests.bench.listener PORT KEYS`` reads API keys from a file, a line each. ``open N`` opens N clients, the keys in turn;
``counts`` tells how they fare; ``save N FILE`` writes what N clients saw, as JSON: the number of a client's key, and for each piece that
it received the monotonic clock's nanoseconds, the last seq in it and how many events.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop

from tests.bench.helper import answer_lines

_EVENT = b"event: audit-event\n"
_SEQ = b'"seq":'
_BLANK = b"\n\n"
_OPENED_AT_A_TIME = 50


class Listener(asyncio.Protocol):
    """One client. ``seen`` holds three numbers a piece: when, the last seq, how many events."""

    def __init__(self, key: int, request: bytes, opened: asyncio.Future[bool]) -> None:
        self.key = key
        self.seen = array("q")
        self.told = 0
        self.is_open = False
        self._request = request
        self._opened = opened
        self._held = b""

    @property
    def is_answered(self) -> bool:
        """Whether it was taken in or turned away."""
        return self._opened.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at once."""
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note the events that are whole."""
        at = time.monotonic_ns()
        self._held += data
        if not self.is_open and not self._is_welcome():
            return
        end = self._held.rfind(_BLANK) + len(_BLANK)
        if end < len(_BLANK):
            return
        whole, self._held = self._held[:end], self._held[end:]
        count = whole.count(_EVENT)
        if count:
            seq = whole.rfind(_SEQ) + len(_SEQ)
            self.seen.extend((at, int(whole[seq : whole.index(b",", seq)]), count))
            self.told += count

    def _is_welcome(self) -> bool:
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if end:
            self.is_open, self._held = head.startswith(b"HTTP/1.1 200"), rest
            self._opened.set_result(self.is_open)
        return self.is_open

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone: nobody reconnects here."""
        self.is_open = False
        if not self._opened.done():
            self._opened.set_result(False)


class Listeners:
    """All clients of the process."""

    def __init__(self, port: int, keys: list[str]) -> None:
        self._port = port
        self._requests = cycle(enumerate(map(_request, keys)))
        self._clients: list[Listener] = []
        self._opening: list[asyncio.Task[None]] = []

    def answer(self, line: str) -> Any:
        """Do what the line says."""
        word, _, argument = line.partition(" ")
        if word == "open":
            self._opening.append(asyncio.get_running_loop().create_task(self._open(int(argument))))
        elif word == "save":
            count, _, file = argument.partition(" ")
            every = max(1, len(self._clients) // int(count))
            Path(file).write_bytes(orjson.dumps([[client.key, client.seen.tolist()] for client in self._clients[::every]]))
        return self._counts()

    async def _open(self, count: int) -> None:
        for first in range(0, count, _OPENED_AT_A_TIME):
            await asyncio.gather(*(self._open_one() for _ in range(first, min(first + _OPENED_AT_A_TIME, count))))

    async def _open_one(self) -> None:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[bool] = loop.create_future()
        key, request = next(self._requests)
        _, client = await loop.create_connection(lambda: Listener(key, request, opened), "127.0.0.1", self._port)
        self._clients.append(client)
        await opened

    def _counts(self) -> dict[str, int]:
        """Clients that asked, that wait for an answer, and that are open; events told to all, the first's time and the last's."""
        return {
            "asked": len(self._clients),
            "waiting": sum(not client.is_answered for client in self._clients),
            "open": sum(client.is_open for client in self._clients),
            "told": sum(client.told for client in self._clients),
            "first": min((client.seen[0] for client in self._clients if client.seen), default=0),
            "last": max((client.seen[-3] for client in self._clients if client.seen), default=0),
        }


def _request(key: str) -> bytes:
    return f"GET /v1/events/tail HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\n\r\n".encode()


async def _listen(port: int, keys: list[str]) -> None:
    await answer_lines(Listeners(port, keys).answer)


if __name__ == "__main__":
    uvloop.run(_listen(int(sys.argv[1]), Path(sys.argv[2]).read_text().split()))
