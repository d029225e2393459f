"""A tail as an HTTP answer: an ASGI response without a body's end, cut when its client reads no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.tail.client import Client, Ended
from api.tail.frames import HEADERS
from ops.serve import ABORT

LAST_SECONDS = 5.0
"""So long a client has to read the end of what ended."""

Over = Callable[["Stream"], None]


class Stream(Response):
    """One tail's answer. ``over`` is called when it has ended, however that was."""

    def __init__(self, client: Client, lifetime: float, over: Over) -> None:
        """``lifetime`` is in seconds."""
        super().__init__()
        self.client = client
        self.blocked_since: float | None = None
        """On the loop's clock: since when a send waits for the client to read."""
        self._lifetime = lifetime
        self._over = over
        self._abort: Callable[[], None] = _nothing
        self._send: Send = _unsent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        loop = asyncio.get_running_loop()
        self._abort = scope.get("extensions", {}).get(ABORT, {}).get("call", _nothing)
        self._send = send
        timer = loop.call_later(self._lifetime, self.client.end, Ended.LIFETIME)
        gone = loop.create_task(_disconnected(receive))
        gone.add_done_callback(lambda _task: self.client.end(Ended.GONE))
        try:
            await self._tell({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await self.client.run(self._write)
            await self._tell({"type": "http.response.body", "body": b""})
            if self.client.ended is Ended.SHUTDOWN:  # what the server's buffer still holds would keep the process waiting
                loop.call_later(LAST_SECONDS, self._abort)
        finally:
            timer.cancel()
            gone.cancel()
            self._over(self)

    def cut(self, reason: Ended) -> None:
        """End it even if the client reads nothing."""
        self.client.end(reason)
        self._abort()

    async def _write(self, told: bytes) -> None:
        await self._tell({"type": "http.response.body", "body": told, "more_body": True})

    async def _tell(self, message: Message) -> None:
        """Each send of an answer may wait for its client, the one that ends it too."""
        self.blocked_since = asyncio.get_running_loop().time()
        await self._send(message)
        self.blocked_since = None


def _nothing() -> None:
    """What a server without the extension can do about a client that does not read."""


async def _unsent(_message: Message) -> None:
    """Before there is a connection."""


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
