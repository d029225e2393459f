"""From an accepted event to the envelope on the ingest topic; ``schemas.accepted`` is the way back.

Ingest does the work of an event once, in parallel: canonical groups, salts, commitments, the leaf cut
in pieces, the public record but for its first five fields. The worker, of which a partition has one,
takes it apart with slices. Ids, time and randomness are passed in, so that the same input always gives
the same bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from schemas import codec
from schemas.codec import ENVELOPE_HEADER
from schemas.event import SALT_BYTES, format_time
from schemas.incoming import IncomingEvent
from schemas.leaf import commitment, leaf_pieces
from schemas.topics import Region

SALTS_BYTES = 4 * SALT_BYTES
"""Randomness that one event needs: a salt for each group."""
PLAN = Struct(">HHHIqqBBBBhbiiiihhhhhh")
"""Where everything lies in an event's body, as the schema says. Walking the Avro to each field cost the worker 11 µs an event."""
ABSENT = -1


class Receipt(NamedTuple):
    """What the events of one request share."""

    company_id: str
    workspace_id: str
    data_region: Region
    received_at: int
    trace_id: str
    context: bytes | None
    """Canonical JSON of the request's ipAddress and userAgent."""


def seal(event: IncomingEvent, receipt: Receipt, *, id: str, salts: bytes, tenancy: bytes, content_hash: bytes | None = None) -> bytes:
    """One checked event as an item of the envelope.

    ``salts`` are ``SALTS_BYTES`` of fresh randomness, ``tenancy`` is ``codec.tenancy`` of the receipt.
    """
    values = (event.actor, event.resource, receipt.context, event.metadata)
    groups: list[bytes] = []
    hexes: list[str | None] = []
    for index, value in enumerate(values):
        if value is None:
            groups.append(b"\0")
            hexes.append(None)
            continue
        salt = salts[index * SALT_BYTES : (index + 1) * SALT_BYTES]
        digest = commitment(salt + value)
        groups.append(b"\2%b\2%b\2%b" % (digest, salt, codec.data(value)))
        hexes.append(digest.hex())
    timestamp = receipt.received_at if event.timestamp is None else event.timestamp
    head, middle, tail = leaf_pieces(
        id=id,
        company_id=receipt.company_id,
        workspace_id=receipt.workspace_id,
        project_id=event.project_id,
        tenant_id=event.tenant_id,
        data_region=receipt.data_region,
        timestamp=format_time(timestamp),
        received_at=format_time(receipt.received_at),
        category=event.category,
        action=event.action,
        outcome=event.outcome,
        trace_id=receipt.trace_id,
        commitments=(hexes[0], hexes[1], hexes[2], hexes[3]),
    )
    times = codec.times(timestamp, receipt.received_at)
    rest = codec.encode_rest(
        id=id,
        tenancy=tenancy,
        trace_id=receipt.trace_id,
        data_region=receipt.data_region,
        times=times,
        category=event.category,
        action=event.action,
        project_id=event.project_id,
        tenant_id=event.tenant_id,
        outcome=event.outcome,
        groups=b"".join(groups),
    )
    texts = [
        None if text is None else text.encode()
        for text in (event.actor_id, event.actor_email, event.resource_type, event.resource_id, event.idempotency_key)
    ]
    plan = PLAN.pack(
        len(head),
        len(middle),
        len(tail),
        len(rest),
        timestamp,
        receipt.received_at,
        codec.TIMES_AT + len(times) + len(codec.long(len(event.category))),
        len(event.category),
        len(event.action),
        event.project_id is not None,
        ABSENT if event.tenant_id is None else len(event.tenant_id.encode()),
        ABSENT if event.outcome is None else codec.OUTCOMES.index(event.outcome),
        *map(_size, values),
        *map(_size, texts),
        _size(content_hash),
    )
    return plan + codec.data(b"".join((head, middle, tail, rest, *filter(None, texts), content_hash or b"")))


def _size(value: bytes | None) -> int:
    return ABSENT if value is None else len(value)


def envelope(tenancy: bytes, items: list[bytes]) -> bytes:
    """The record for the ingest topic: sealed events of one workspace, at least one."""
    return b"".join((ENVELOPE_HEADER, tenancy, codec.long(len(items)), *items, b"\0"))
