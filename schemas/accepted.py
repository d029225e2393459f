"""Taking a record of the ingest topic apart, in the chain worker: what ``schemas.envelope`` sealed.

There is one worker for a partition and many ingest processes, so this is the side that has to be fast:
an event's plan says where its fields lie, and reading them is slices (5 µs an event). Bytes that are no
envelope are refused, and so is an event that is not of the envelope's workspace.
"""

from __future__ import annotations

import re
import struct
from binascii import Error as BadDigits
from binascii import unhexlify
from functools import lru_cache
from typing import NamedTuple

from schemas import codec
from schemas.codec import ENVELOPE_HEADER, HEADER_BYTES, Undecodable
from schemas.envelope import PLAN, envelope
from schemas.event import FIRST_TIME, LAST_TIME
from schemas.ids import UUID_BYTES
from schemas.leaf import LeafPieces
from schemas.reading import length_at, long_at

_NO_COMMITMENT = bytes(32)
_TENANCY_BYTES = 74
_ONE_BYTE, _TWO_BYTES = 64, 8192
"""Avro lengths below these take one and two bytes."""
_IS_UUID = re.compile(UUID_BYTES).fullmatch
_TENANCY = re.compile(rb"H" + UUID_BYTES + rb"H" + UUID_BYTES).fullmatch
_RECORD_START = re.compile(rb"\x02H" + UUID_BYTES).match
_IS_KEY = re.compile(rb"[\x20-\x7e]{1,255}").fullmatch
_OUTCOMES = tuple(outcome.encode() for outcome in codec.OUTCOMES)


FIELDS = (
    *("category", "action", "project_id", "tenant_id", "outcome"),
    *("actor", "resource", "context", "metadata"),
    *("actor_id", "actor_email", "resource_type", "resource_id"),
)
"""The fields of an accepted event that have no fixed size."""


class AcceptedEvent(NamedTuple):
    """One event of an envelope, as the chain worker needs it: to link, to store and to announce. Texts are UTF-8, ids 16 bytes."""

    pieces: LeafPieces
    rest: bytes
    """The public record from ``v`` on."""
    id: bytes
    trace_id: bytes
    timestamp: int
    received_at: int
    commitments: bytes
    """Four of 32 bytes, zeros for an absent group."""
    fields: tuple[bytes | None, ...]
    """In the order of ``FIELDS``; groups as salt ‖ canonical JSON, the project's id as 16 bytes."""
    idempotency_key: bytes | None
    content_hash: bytes | None
    start: int
    """Where it begins in the record that it came in, and where it ends."""
    end: int

    @property
    def id_text(self) -> str:
        """Its id as a lower-case UUID."""
        return self.rest[2:38].decode()


class Envelope(NamedTuple):
    """The events of one request, all of one workspace."""

    company_id: str
    workspace_id: str
    events: list[AcceptedEvent]


def alone(record: bytes, event: AcceptedEvent) -> bytes:
    """An envelope with this one event of a record, byte for byte: what is rejected must not take its neighbours along."""
    tenancy = record[HEADER_BYTES : HEADER_BYTES + _TENANCY_BYTES]
    return envelope(tenancy, [record[event.start : event.end]])


def open_envelope(record: bytes) -> Envelope:
    """Take a record of the ingest topic apart. Raises ``Undecodable``."""
    if record[:HEADER_BYTES] != ENVELOPE_HEADER:
        raise Undecodable("not an envelope of a known schema")
    try:
        return _open(record)
    except (IndexError, BadDigits, struct.error) as error:
        raise Undecodable(f"the envelope is cut or garbled: {type(error).__name__}") from None


def _open(record: bytes) -> Envelope:
    tenancy = record[HEADER_BYTES : HEADER_BYTES + _TENANCY_BYTES]
    company_id, workspace_id = _ids(tenancy)
    count, at = long_at(record, HEADER_BYTES + _TENANCY_BYTES)
    events = []
    for _ in range(count):
        event, at = _read_event(record, at, tenancy)
        events.append(event)
    if not events or record[at:] != b"\0":
        raise Undecodable("the envelope does not end with its last event")
    return Envelope(company_id, workspace_id, events)


@lru_cache(maxsize=10_000)
def _ids(tenancy: bytes) -> tuple[str, str]:
    if not _TENANCY(tenancy):
        raise Undecodable("the envelope's ids are not UUIDs")
    return tenancy[1:37].decode(), tenancy[38:74].decode()


def _read_event(record: bytes, start: int, tenancy: bytes) -> tuple[AcceptedEvent, int]:
    plan = PLAN.unpack_from(record, start)
    # Slices of the record itself: a copy of the body to slice from would cost 0.5 µs.
    size, at = length_at(record, start + PLAN.size)
    middle_at = at + plan[0]
    tail_at = middle_at + plan[1]
    rest_at = tail_at + plan[2]
    here = rest_at + plan[3]
    end = at + size
    tail, rest = record[tail_at:rest_at], record[rest_at:here]
    timestamp, received_at = plan[4], plan[5]
    # What is linked, stored and announced must be of the workspace whose chain it joins.
    if not _RECORD_START(rest) or rest[38:112] != tenancy or tail[-38:-2] != tenancy[38:]:
        raise Undecodable("an event's ids are not its envelope's")
    if not (FIRST_TIME <= timestamp <= LAST_TIME and FIRST_TIME <= received_at <= LAST_TIME):
        raise Undecodable("a time lies outside of the years 1 to 9999")
    fields, commitments = _read_rest(rest, plan)
    for size in plan[16:]:
        if size < 0:
            fields.append(None)
        else:
            fields.append(record[here : here + size])
            here += size
    if here != end:
        raise Undecodable("an event does not end where its plan says")
    content_hash, idempotency_key = fields.pop(), fields.pop()
    if idempotency_key is not None and not _IS_KEY(idempotency_key):
        raise Undecodable("an idempotency key is not one to 255 printable characters")
    # `_make` takes 0.5 µs, the constructor with its parameters twice that.
    event = AcceptedEvent._make(
        (
            LeafPieces._make((record[at:middle_at], record[middle_at:tail_at], tail)),
            rest,
            unhexlify(rest[2:38].replace(b"-", b"")),
            unhexlify(rest[113:145]),
            timestamp,
            received_at,
            commitments,
            tuple(fields),
            idempotency_key,
            content_hash,
            start,
            end,
        )
    )
    return event, end


def _read_rest(rest: bytes, plan: tuple[int, ...]) -> tuple[list[bytes | None], bytes]:
    """The fields of the public record that have no fixed size, and the commitments of its groups."""
    at, category_size, action_size, has_project, tenant_size, outcome = plan[6:12]
    action_at = at + category_size + (1 if action_size < _ONE_BYTE else 2)
    fields: list[bytes | None] = [rest[at : at + category_size], rest[action_at : action_at + action_size]]
    at = action_at + action_size + 1
    if has_project:
        fields.append(_uuid(rest[at + 1 : at + 37]))
        at += 38
    else:
        fields.append(None)
        at += 1
    if tenant_size < 0:
        fields.append(None)
    else:
        at += 1 if tenant_size < _ONE_BYTE else 2
        fields.append(rest[at : at + tenant_size])
        at += tenant_size
    fields.append(None if outcome < 0 else _OUTCOMES[outcome])
    at += 1 if outcome < 0 else 2
    commitments = []
    for size in plan[12:16]:
        if size < 0:
            fields.append(None)
            commitments.append(_NO_COMMITMENT)
            at += 1
        else:  # commitment, salt, value
            value_at = at + (52 if size < _ONE_BYTE else 53 if size < _TWO_BYTES else 54)
            commitments.append(rest[at + 1 : at + 33])
            fields.append(rest[at + 34 : at + 50] + rest[value_at : value_at + size])
            at = value_at + size
    if at != len(rest):
        raise Undecodable("an event's record does not end with its metadata")
    return fields, b"".join(commitments)


@lru_cache(maxsize=10_000)
def _uuid(text: bytes) -> bytes:
    if not _IS_UUID(text):
        raise Undecodable("a project's id is not a UUID")
    return unhexlify(text.replace(b"-", b""))
