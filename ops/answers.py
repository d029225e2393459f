"""A client's connections whose other end is in anybody's hands: what comes back of a request is bounded, whatever it is made of.

aiohttp bounds a line, a head and, by pausing, a body. It bounds neither how many interim answers (1xx, RFC 9110 §15.2) it skips nor
the extensions and trailers of chunks (RFC 9112 §7.1), and it parses all that one read of the socket brought in one go: a receiver
that floods either would hold the loop, and fill the memory, for as long as a request may take.

Rests on these internals of aiohttp 3.14: connectors make protocols by ``_factory``; ``ResponseHandler.set_response_params`` begins
each request's answer, ``data_received`` gets every byte of it, ``feed_data`` every head that was parsed, and ``_payload`` is the body
under way. ``tests/unit/ops/test_answers.py`` fails when one of them moves.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

# Raw bytes. Body, head, and what frames the body: twice what a whole answer that we read has, in chunks of sixteen bytes and more.
_MAX_BYTES = 256 << 10
# The answer's own, and interim ones; in earnest there are one or two.
_MAX_HEADS = 16
# Parsed in one go: at most so many bytes of heads are begun before they are counted.
_PIECE = 4 << 10


def bound(connector: aiohttp.BaseConnector) -> None:
    """Answers above the bounds end as ``aiohttp.ClientPayloadError`` and their connections at once. To be called in a running loop."""
    connector._factory = partial(_handler, asyncio.get_running_loop())


def _handler(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Bounded(loop)


class _Bounded(ResponseHandler):
    _bytes = 0
    _heads = 0

    def set_response_params(self, **params: Any) -> None:
        self._bytes = self._heads = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        # Once without any, too: so a parser that was paused goes on.
        for start in range(0, max(len(data), 1), _PIECE):
            # Tested before the bytes are counted: a read that brings a long body is to be read before the next one is judged.
            if self.exception() is not None:
                return
            if self._bytes > _MAX_BYTES or self._heads > _MAX_HEADS:
                self._cut()
                return
            super().data_received(data[start : start + _PIECE])
        self._bytes += len(data)

    def feed_data(self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0) -> None:
        self._heads += 1
        super().feed_data(data, size)

    def _cut(self) -> None:
        """Whoever reads is told; not by losing the connection, which some take for a reason to ask again."""
        error = aiohttp.ClientPayloadError("the answer is too long")
        payload = self._payload
        self.abort()  # forgets the payload, and what was set before
        self.set_exception(error)
        if payload is not None:
            payload.set_exception(error)
