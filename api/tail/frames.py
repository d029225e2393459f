"""Server-sent events (WHATWG HTML §9.2) as bytes, and what of them all clients can share."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

import orjson

from schemas.event import StoredEvent
from schemas.tokens import event_tokens
from schemas.view import render

FIRST: Final = b"retry: 1000\n\n"
"""How long a client waits before it reconnects, in milliseconds."""
COMMENT: Final = b": keep-alive\n"
HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would gather it
)


MOST_JOINED: Final = 64
"""Frames of one send: each send costs as much as rendering a frame."""
MOST_BYTES: Final = 256 << 10
"""And no more of it, but for a larger frame: the server buffers what a client has not read of a send."""
_LEAST_BYTES, _TOKEN_BYTES = 1000, 8


class Told:
    """An event on its way to clients; what it looks like is written once, and only if anybody wants it; so are its words."""

    __slots__ = ("_body", "_tokens", "event", "partition")

    def __init__(self, event: StoredEvent, partition: int) -> None:
        """``partition`` is the event's, of the ingest and of the events topic alike."""
        self.event = event
        self.partition = partition
        self._body: bytes | None = None
        self._tokens: array[int] | None = None

    @property
    def size(self) -> int:
        """Bytes that it holds, about."""
        event = self.event
        groups = (event.actor, event.resource, event.context, event.metadata)
        values = sum(len(group.value) for group in groups if group is not None and group.value is not None)
        return _LEAST_BYTES + values + (0 if self._tokens is None else _TOKEN_BYTES * len(self._tokens))

    @property
    def is_read(self) -> bool:
        """Whether its words are known; it may take long."""
        return self._tokens is not None

    def has(self, tokens: AbstractSet[int]) -> bool:
        """Whether all of these are among the event's."""
        if self._tokens is None:
            self._tokens = array("q", event_tokens(self.event))
        own = self._tokens
        return all((at := bisect_left(own, token)) < len(own) and own[at] == token for token in tokens)

    def frame(self, position: bytes) -> bytes:
        """The whole message; ``position`` is where its reader is behind it."""
        if self._body is None:
            self._body = b"event: audit-event\ndata: %b\n\n" % render(self.event, verification=False)
        return b"id: %b\n%b" % (position, self._body)


def joined(told: Iterable[bytes]) -> Iterator[bytes]:
    """The frames in pieces of one send each."""
    piece, size = list[bytes](), 0
    for frame in told:
        if piece and (len(piece) == MOST_JOINED or size + len(frame) > MOST_BYTES):
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(frame)
        size += len(frame)
    if piece:
        yield b"".join(piece)


def retry(seconds: float) -> bytes:
    """How long a client waits from now on before it reconnects."""
    return b"retry: %d\n\n" % (seconds * 1000)


def gap(position: bytes, workspace_id: str, first: int, last: int) -> bytes:
    """Says that events of a workspace can't be had any more, from one seq to another."""
    data = orjson.dumps({"workspaceId": workspace_id, "fromSeq": first, "toSeq": last})
    return b"id: %b\nevent: gap\ndata: %b\n\n" % (position, data)


def here(position: bytes) -> bytes:
    """Moves the reader's position on, and shows nothing."""
    return b"id: %b\n\n" % position
