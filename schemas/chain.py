"""The integrity rules, all of them: how an event is linked, and how anybody checks that it was (contract §5).

Pure: no clock, no I/O, no settings. The chain worker calls ``link``; an auditor calls ``verify`` for
each event of a workspace in seq order and ``verify_head`` at the end. What ``verify`` admits was
neither changed nor dropped nor slipped in, as long as the head, or any later hash, is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schemas.event import GROUPS, LEAF_VERSION, StoredEvent
from schemas.leaf import ZERO_HASH, LeafPieces, commitment, leaf_hash, leaf_of, link_hash


class Head(NamedTuple):
    """The end of a workspace's chain: the last event's seq and hash. ``START`` before the first."""

    seq: int
    hash: bytes


START = Head(0, ZERO_HASH)


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing wrong with an event: its place in the chain, the field, and what was found."""

    workspace_id: str
    seq: int
    field: str
    message: str


def link(head: Head, pieces: LeafPieces) -> Head:
    """The head after one more event: seq + 1, and the hash of the leaf that holds the head's hash as ``prevHash``."""
    seq = head.seq + 1
    return Head(seq, link_hash(pieces, head.hash, seq))


def verify(head: Head, event: StoredEvent) -> Finding | None:
    """``None`` when ``event`` is the link after ``head``, intact; else the first field that is wrong.

    The order tells the cause: first the layout and the place in the chain, then what the groups commit to, last the
    hash over everything. An erased group can't be compared with its commitment, and need not be.
    """
    if event.v != LEAF_VERSION:
        return _finding(event, "v", f"is {event.v}, a layout unknown here")
    if event.seq != head.seq + 1:
        return _finding(event, "seq", f"{event.seq} follows {head.seq}")
    if event.prev_hash != head.hash:
        return _finding(event, "prevHash", f"is {event.prev_hash.hex()}, the hash before it is {head.hash.hex()}")
    for name in GROUPS:
        group = getattr(event, name)
        if group is not None and group.sealed is not None and commitment(group.sealed) != group.commitment:
            return _finding(event, name, "does not match its commitment")
    computed = leaf_hash(leaf_of(event))
    if computed != event.hash:
        return _finding(event, "hash", f"is {event.hash.hex()}, the leaf's is {computed.hex()}")
    return None


def advance(event: StoredEvent) -> Head:
    """The head after a verified event."""
    return Head(event.seq, event.hash)


def verify_head(workspace_id: str, reached: Head, stored: Head) -> Finding | None:
    """``None`` when walking the whole chain ended at the stored head; else what is missing or too much."""
    if reached.seq != stored.seq:
        first = min(reached.seq, stored.seq) + 1
        return Finding(workspace_id, first, "seq", f"the chain ends at {reached.seq}, its head says {stored.seq}")
    if reached.hash != stored.hash:
        return Finding(workspace_id, reached.seq, "hash", f"is {reached.hash.hex()}, the head says {stored.hash.hex()}")
    return None


def _finding(event: StoredEvent, field: str, message: str) -> Finding:
    return Finding(event.workspace_id, event.seq, field, message)
