"""What webhooks are sent to: it reads as little of a delivery as it can, so that the figure is the sender's.

``python -m tests.bench.receiver PORT`` listens on loopback. The first part of a path says how it answers: ``/fast`` at once, ``/slow``
after 100 ms, ``/hang`` never. ``counts`` tells how many deliveries came by each.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import cast

import uvloop

from tests.bench.helper import answer_lines

SLOW_SECONDS = 0.1
_OK = b"HTTP/1.1 204 No Content\r\n\r\n"
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Receiver(asyncio.Protocol):
    """One connection of a sender's. ``counts`` is everybody's."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to answer on."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each delivery that is whole."""
        self._held += data
        while (end := _end_of_request(self._held)) is not None:
            path, self._held = self._held[: self._held.index(b"\r\n")].split(b" ")[1], self._held[end:]
            self._answer(path.split(b"/")[1].split(b"?")[0].decode())

    def _answer(self, way: str) -> None:
        self._counts[way] += 1
        if way == "slow":
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._write)
        elif way != "hang":
            self._write()

    def _write(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_OK)


def _end_of_request(held: bytes) -> int | None:
    """Where the first request ends; ``None`` while it is not whole."""
    head = held.find(_END)
    if head < 0:
        return None
    names = held[:head].lower()
    at = names.find(_LENGTH)
    length = int(names[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    end = head + len(_END) + length
    return end if len(held) >= end else None


async def _serve(port: int) -> None:
    counts: Counter[str] = Counter()
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(counts), "127.0.0.1", port, backlog=1024)
    async with server:
        await answer_lines(lambda _line: counts)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
