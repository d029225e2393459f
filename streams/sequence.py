"""Sequencing: which seq and hash each event of a chunk gets. Pure, so that the same records and heads always chain alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ops.publish import Record
from schemas.accepted import AcceptedEvent, Envelope, alone, open_envelope
from schemas.chain import START, Head, link
from schemas.codec import Undecodable, encode_event
from streams import copyrow
from streams.keys import Fate, First, Key, fate_of, first_of, key_of

DAY_MICROS = 86_400_000_000
WHOLE_RECORD = -1
"""The index of a rejection that concerns a record, not one event of it."""


class SourceRecord(NamedTuple):
    """A record of the ingest topic: its position (offset plus the source's base), its bytes, and what they hold."""

    position: int
    value: bytes
    envelope: Envelope | Undecodable

    @property
    def events(self) -> int:
        """Events in it; 1 when it can't be read, for the rejection."""
        return len(self.envelope.events) if isinstance(self.envelope, Envelope) else 1


class ChainEnd(NamedTuple):
    """A workspace's head and the archive day of its last event (days since 1970)."""

    head: Head
    archive_day: int


class Place(NamedTuple):
    """Where an event came from: the record's position and the event's number within its batch."""

    position: int
    number: int


class Refusal(NamedTuple):
    """Why an event can't be stored: a stable code and a sentence."""

    reason: str
    detail: str


REPEAT = Refusal("REPEAT", "this very event is stored already")
"""Not a reason to reject: the event's id leads to what is stored. It is counted and passed over."""


CONFLICT = Refusal("IDEMPOTENCY_CONFLICT", "the idempotency key stands for an event with other content")
NO_KEYS: Mapping[Key, First] = MappingProxyType({})


class Rejection(NamedTuple):
    """A row of ``rejected``."""

    place: Place
    id: str | None
    company_id: str | None
    workspace_id: str | None
    refusal: Refusal
    received_at: int | None
    original: bytes


class Alias(NamedTuple):
    """A row of ``event_alias``: an accepted event that repeats another one of its workspace."""

    place: Place
    id: str
    company_id: str
    workspace_id: str
    received_at: int
    first: First


class Keyed(NamedTuple):
    """A row of ``event_key``."""

    company_id: str
    first: First


class HeadMove(NamedTuple):
    """A workspace's head before and after the chunk."""

    company_id: str
    before: ChainEnd
    after: ChainEnd


@dataclass(slots=True)
class Sequenced:
    """A chunk, ready to be stored and announced."""

    next_position: int
    rows: list[bytes] = field(default_factory=list)
    """As ``copyrow`` encodes them."""
    announcements: list[Record] = field(default_factory=list)
    moves: dict[str, HeadMove] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    keys: dict[Key, Keyed] = field(default_factory=dict)
    """Those that began to stand for an event."""
    aliases: list[Alias] = field(default_factory=list)
    repeats: int = 0
    """Events passed over since they are stored already."""


def read_record(position: int, value: bytes | None) -> SourceRecord:
    """Decode a record; what can't be decoded becomes a rejection, not an error."""
    try:
        return SourceRecord(position, value or b"", open_envelope(value or b""))
    except Undecodable as error:
        return SourceRecord(position, value or b"", error)


def workspaces(records: Sequence[SourceRecord]) -> set[str]:
    """The workspaces whose heads a chunk needs."""
    return {record.envelope.workspace_id for record in records if isinstance(record.envelope, Envelope)}


class _Known(NamedTuple):
    """What is known before a chunk."""

    heads: Mapping[str, ChainEnd]
    refused: Mapping[Place, Refusal]
    keys: Mapping[Key, First]


def sequence(
    partition: int,
    records: Sequence[SourceRecord],
    heads: Mapping[str, ChainEnd],
    refused: Mapping[Place, Refusal],
    keys: Mapping[Key, First] = NO_KEYS,
) -> Sequenced:
    """Give every event of the records its place in its chain, in the records' order. ``heads`` lacks new workspaces.

    ``refused`` are events that Postgres would not take: they get no seq and become rejections. ``keys`` are those of
    the records' idempotency keys that stand for an event already.
    """
    result = Sequenced(records[-1].position + 1)
    ends: dict[str, ChainEnd] = {}
    known = _Known(heads, refused, keys)
    for record in records:
        if isinstance(record.envelope, Undecodable):
            place = Place(record.position, WHOLE_RECORD)
            refusal = Refusal("UNDECODABLE", str(record.envelope))
            result.rejections.append(Rejection(place, None, None, None, refusal, None, record.value))
        else:
            _sequence_envelope(partition, record, record.envelope, known, ends, result)
    return result


def _sequence_envelope(
    partition: int, record: SourceRecord, envelope: Envelope, known: _Known, ends: dict[str, ChainEnd], result: Sequenced
) -> None:
    workspace, company = envelope.workspace_id, envelope.company_id
    before = known.heads.get(workspace) or ChainEnd(START, 0)
    end = ends.get(workspace, before)
    key = workspace.encode()
    position = record.position
    refused = known.refused
    for index, event in enumerate(envelope.events):
        if refused and (refusal := refused.get(Place(position, index))):
            _refuse(Place(position, index), record, envelope, event, refusal, result)
            continue
        named = None if event.content_hash is None else key_of(workspace, event)
        if named is not None and (first := result.keys[named].first if named in result.keys else known.keys.get(named)):
            _settle(Place(position, index), record, envelope, event, first, result)
            continue
        prev_hash = end.head.hash
        head = link(end.head, event.pieces)
        end = ChainEnd(head, max(end.archive_day, event.received_at // DAY_MICROS))
        result.rows.append(
            copyrow.encode(
                seq=head.seq,
                prev_hash=prev_hash,
                hash=head.hash,
                position=position,
                partition=partition,
                index=index,
                archive_day=end.archive_day,
                company_id=company,
                workspace_id=workspace,
                event=event,
            )
        )
        value = encode_event(head.seq, prev_hash, head.hash, position, index, event.rest)
        result.announcements.append(Record(key, value, announcement_headers(event.rest[2:38], event.rest[113:145])))
        if named is not None:
            result.keys[named] = Keyed(company, first_of(event, head.seq))
    if end is not before:
        ends[workspace] = end
        result.moves[workspace] = HeadMove(company, before, end)


def _refuse(place: Place, record: SourceRecord, envelope: Envelope, event: AcceptedEvent, refusal: Refusal, result: Sequenced) -> None:
    if refusal is REPEAT:
        result.repeats += 1
        return
    ids = (event.id_text, envelope.company_id, envelope.workspace_id)
    result.rejections.append(Rejection(place, *ids, refusal, event.received_at, alone(record.value, event)))


def _settle(place: Place, record: SourceRecord, envelope: Envelope, event: AcceptedEvent, first: First, result: Sequenced) -> None:
    """An event whose key stands for another one, or for itself."""
    match fate_of(event, first):
        case Fate.REPEAT:
            result.repeats += 1
        case Fate.ALIAS:
            ids = (event.id_text, envelope.company_id, envelope.workspace_id)
            result.aliases.append(Alias(place, *ids, event.received_at, first))
        case Fate.CONFLICT:
            _refuse(place, record, envelope, event, CONFLICT, result)


def announcement_headers(event_id: bytes, trace_id: bytes) -> list[tuple[str, bytes]]:
    """The record's ``traceparent``: the request's trace, with a span id taken from the event's, so that a repeat has the same."""
    return [("traceparent", b"00-%b-%b%b-01" % (trace_id, event_id[19:23], event_id[24:]))]
