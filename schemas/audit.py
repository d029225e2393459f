"""Entries of the operators' audit (contract §8): an action on the service itself, told as an event of an AUDIT workspace.

An entry is made complete, final id and salts included, before it is committed with the action it tells of.
So it may be sent any number of times: equal bytes are recognised as a repeat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from schemas import codec, ids
from schemas.envelope import SALTS_BYTES, Receipt, envelope, seal
from schemas.incoming import read
from schemas.topics import Region

CATEGORY = "admin"
ENTROPY_BYTES = SALTS_BYTES + ids.RANDOM_BYTES
_TRACE_ID = re.compile(r"[0-9a-f]{32}").fullmatch


class Outcome(StrEnum):
    """How an action ended."""

    SUCCESS = "SUCCESS"
    DENIED = "DENIED"
    FAILURE = "FAILURE"


@dataclass(frozen=True, slots=True)
class Entry:
    """What was done, or refused. ``actor`` and ``target`` are the event's groups ``actor`` and ``resource``."""

    action: str
    outcome: Outcome
    actor: Mapping[str, Any]
    trace_id: str
    """32 lower-case hex digits."""
    target: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    context: bytes | None = None
    """From ``context.request_context``; ``None`` for what did not come over HTTP."""


class Holder(NamedTuple):
    """The AUDIT workspace that an entry goes to."""

    region: Region
    company_id: str
    workspace_id: str


class Sealed(NamedTuple):
    """An entry as it will stand on the ingest topic, and its final id."""

    event_id: str
    record: bytes


def record(entry: Entry, holder: Holder, *, now: int, entropy: bytes) -> Sealed:
    """The entry as an envelope of one event. ``now`` is in microseconds, ``entropy`` ``ENTROPY_BYTES`` of fresh randomness.

    Raises ``InvalidEvent``, ``EventTooLarge`` or ``ValueError`` for what could not be stored as an event.
    """
    if len(entropy) != ENTROPY_BYTES or not _TRACE_ID(entry.trace_id):
        raise ValueError(f"an entry takes {ENTROPY_BYTES} random bytes and a trace id of 32 lower-case hex digits")
    event = read(_posted(entry), now)
    tenancy = codec.tenancy(holder.company_id, holder.workspace_id)
    receipt = Receipt(holder.company_id, holder.workspace_id, holder.region, now, entry.trace_id, entry.context)
    event_id = ids.uuid7(now, entropy[SALTS_BYTES:])
    return Sealed(event_id, envelope(tenancy, [seal(event, receipt, id=event_id, salts=entropy[:SALTS_BYTES], tenancy=tenancy)]))


def _posted(entry: Entry) -> dict[str, Any]:
    """The entry as a producer would post it, so that one rule book holds for both."""
    groups = {"actor": entry.actor, "resource": entry.target, "metadata": entry.metadata}
    present = {name: dict(value) for name, value in groups.items() if value is not None}
    return {"category": CATEGORY, "action": entry.action, "outcome": entry.outcome.value, **present}
