"""Server-sent events (WHATWG HTML §9.2) as bytes, and what of them all clients can share."""

from __future__ import annotations

from array import array
from bisect import bisect_left
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


def gap(position: bytes, workspace_id: str, first: int, last: int) -> bytes:
    """Says that events of a workspace can't be had any more, from one seq to another."""
    data = orjson.dumps({"workspaceId": workspace_id, "fromSeq": first, "toSeq": last})
    return b"id: %b\nevent: gap\ndata: %b\n\n" % (position, data)


def here(position: bytes) -> bytes:
    """Moves the reader's position on, and shows nothing."""
    return b"id: %b\n\n" % position
