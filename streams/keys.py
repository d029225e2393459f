"""Idempotency keys in a chunk: what a key stands for already, and what becomes of an event that comes second. Pure.

The first event of a key that is sequenced wins, whatever ingest proposed (contract §2). So this is decided here alone,
under the partition's row lock, and by what the same transaction wrote before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from schemas.accepted import AcceptedEvent, Envelope
from schemas.idempotency import is_same_content

Key = tuple[str, bytes]
"""Workspace and key."""


class First(NamedTuple):
    """The event that a key stands for; its HMACs are ``schemas.idempotency.content_hashes``."""

    seq: int
    event_id: str
    content: bytes


class Fate(Enum):
    """What becomes of an event whose key is taken."""

    REPEAT = "repeat"
    """It is the first event itself, published again by a request that could not know: passed over."""
    ALIAS = "alias"
    """Its id leads to the first event."""
    CONFLICT = "conflict"
    """It says something else: rejected."""


def key_of(workspace_id: str, event: AcceptedEvent) -> Key | None:
    """The event's key, if it acts: without the hash of its content nothing could be compared."""
    if event.content_hash is None or event.idempotency_key is None:
        return None
    return workspace_id, event.idempotency_key


def keys_of(envelopes: Iterable[Envelope]) -> Iterator[Key]:
    """The keys of all events, as often as they come."""
    for envelope in envelopes:
        for event in envelope.events:
            if event.content_hash is not None and (key := key_of(envelope.workspace_id, event)):
                yield key


def first_of(event: AcceptedEvent, seq: int) -> First:
    """The event as what its key stands for from now on."""
    return First(seq, event.id_text, event.content_hash or b"")


def fate_of(event: AcceptedEvent, first: First) -> Fate:
    """What becomes of an event whose key stands for ``first``."""
    if not is_same_content(event.content_hash or b"", first.content):
        return Fate.CONFLICT
    return Fate.REPEAT if event.id_text == first.event_id else Fate.ALIAS
