"""A load generator of our own, for what wrk can't: a fixed rate, and the id and times of every event.

``python -m tests.bench.poster PORT REQUESTS SECONDS CONNECTIONS RATE OUT`` sends the requests of a directory in
turn and writes a line an answer: when it was due, when it was answered (monotonic clock, nanoseconds), its status
and the event's id. With a rate, a request's time counts from when it was due, not from when a connection was free
for it, so that a stall is not left out of the figures.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import cast

import uvloop

from tests.bench.workload import BLANK_KEY

_TICK_SECONDS = 0.001
_LAST_ANSWERS_SECONDS = 30
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_ID = re.compile(rb'"id":"([0-9a-f-]{36})"')


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._received = b""
        self._due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due: int) -> None:
        """Send a request."""
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Tell the poster once the answer is whole."""
        self._received += data
        head, end, content = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(content) < int(length[1]):
            return
        self._received = b""
        self._poster.answered(self, self._due, head[9:12], content)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up: a broken connection makes the figures worthless."""
        self._poster.lost(exc)


class Poster:
    """Hands requests to connections that are free, at a rate or at once."""

    def __init__(self, requests: list[bytes], seconds: float, rate: float) -> None:
        self._requests = with_keys(cycle(requests))
        self._begun = time.monotonic_ns()
        self._end = self._begun + int(seconds * 1e9)
        self._interval = 1e9 / rate if rate else 0.0
        self._issued = 0
        self._due: deque[int] = deque()
        self._idle: deque[Connection] = deque()
        self._busy = 0
        self._broken: Exception | None = None
        self.answers: list[tuple[int, int, bytes, bytes]] = []

    async def run(self, port: int, connections: int) -> None:
        """Connect, send until the time is over, wait for the last answers."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
            self._idle.append(connection)
        async with asyncio.timeout_at(loop.time() + (self._end - time.monotonic_ns()) / 1e9 + _LAST_ANSWERS_SECONDS):
            while time.monotonic_ns() < self._end or self._busy or self._due:
                if self._broken:
                    raise self._broken
                self._pump()
                await asyncio.sleep(_TICK_SECONDS)

    def answered(self, connection: Connection, due: int, status: bytes, content: bytes) -> None:
        """Note the answer and use the connection again."""
        found = _ID.search(content)
        self.answers.append((due, time.monotonic_ns(), status, found[1] if found else b"-"))
        self._busy -= 1
        self._idle.append(connection)
        self._pump()

    def lost(self, error: Exception | None) -> None:
        """A connection broke."""
        self._broken = error or ConnectionError("the server closed a connection")

    def _pump(self) -> None:
        now = time.monotonic_ns()
        self._note_due(min(now, self._end))
        while self._idle:
            if self._due:
                due = self._due.popleft()
            elif not self._interval and now < self._end:
                due = now
            else:
                return
            self._busy += 1
            self._idle.popleft().send(next(self._requests), due)

    def _note_due(self, now: int) -> None:
        while self._interval and (due := int(self._begun + self._issued * self._interval)) < now:
            self._due.append(due)
            self._issued += 1


def with_keys(requests: Iterable[bytes]) -> Iterator[bytes]:
    """The requests with fresh idempotency keys where theirs are blank."""
    run = os.urandom(4).hex()
    for number, whole in zip(count(), requests, strict=False):
        yield whole.replace(BLANK_KEY, b"bench-key-%b%08x" % (run.encode(), number), 1)


def main() -> None:
    """Send, then write the answers down."""
    port, directory, seconds, connections, rate, out = sys.argv[1:]
    files = sorted(Path(directory).iterdir(), key=lambda file: int(file.name))
    poster = Poster([file.read_bytes() for file in files], float(seconds), float(rate))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(poster.run(int(port), int(connections)))
    with Path(out).open("wb") as file:
        file.writelines(b"%d %d %b %b\n" % answer for answer in poster.answers)


if __name__ == "__main__":
    main()
