"""Envelopes: what ingest seals, the chain worker opens field for field, and bytes that are none are refused."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.accepted import FIELDS, open_envelope
from schemas.codec import Undecodable
from schemas.envelope import Receipt, envelope, seal
from schemas.event import SALT_BYTES
from schemas.incoming import read
from schemas.leaf import join
from schemas.topics import Region
from tests.unit.schemas import plain
from tests.unit.schemas.strategies import HASHES, POSTED, RECEIPTS, SALTS, UUIDS

LATER = 2**60
SENT = st.tuples(POSTED, UUIDS, SALTS, st.none() | HASHES)
Sent = tuple[dict[str, Any], str, bytes, bytes | None]


def tenancy_of(receipt: Receipt) -> bytes:
    return codec.tenancy(receipt.company_id, receipt.workspace_id)


def sealed(receipt: Receipt, sent: Sent) -> bytes:
    posted, event_id, salts, content_hash = sent
    return seal(read(posted, LATER), receipt, id=event_id, salts=salts, tenancy=tenancy_of(receipt), content_hash=content_hash)


def record_of(receipt: Receipt, sent: list[Sent]) -> bytes:
    return envelope(tenancy_of(receipt), [sealed(receipt, each) for each in sent])


def groups_of(receipt: Receipt, sent: Sent) -> dict[str, bytes | None]:
    """salt ‖ canonical JSON of each present group."""
    posted, _, salts, _ = sent
    values = {name: None if posted.get(name) is None else plain.dumps(posted[name]) for name in plain.GROUPS}
    values["context"] = receipt.context
    found = zip(plain.GROUPS, range(0, 4 * SALT_BYTES, SALT_BYTES), strict=True)
    return {name: None if (value := values[name]) is None else salts[at : at + SALT_BYTES] + value for name, at in found}


def expected(receipt: Receipt, sent: Sent) -> dict[str, Any]:
    """What comes out: texts in UTF-8, ids as their 16 bytes."""
    posted, event_id, _, content_hash = sent
    actor, resource = posted.get("actor") or {}, posted.get("resource") or {}
    groups = groups_of(receipt, sent)
    digests = (bytes(32) if group is None else bytes.fromhex(plain.commitment(group[:16], group[16:])) for group in groups.values())
    texts = {
        "category": posted["category"],
        "action": posted["action"],
        "tenant_id": posted.get("tenantId"),
        "outcome": posted.get("outcome"),
        "actor_id": actor.get("id"),
        "actor_email": actor.get("email"),
        "resource_type": resource.get("type"),
        "resource_id": resource.get("id"),
        "idempotency_key": posted.get("idempotencyKey"),
    }
    return (
        groups
        | {name: None if text is None else text.encode() for name, text in texts.items()}
        | {
            "id": UUID(event_id).bytes,
            "trace_id": bytes.fromhex(receipt.trace_id),
            "timestamp": receipt.received_at if posted.get("timestamp") is None else plain.micros(posted["timestamp"]),
            "received_at": receipt.received_at,
            "project_id": UUID(posted["projectId"]).bytes if posted.get("projectId") else None,
            "commitments": b"".join(digests),
            "content_hash": content_hash,
        }
    )


def leaf(receipt: Receipt, sent: Sent, prev_hash: bytes, seq: int) -> bytes:
    posted, event_id, *_ = sent
    fields = {name: posted.get(name) for name in ("projectId", "tenantId", "category", "action", "outcome")} | {
        "id": event_id,
        "companyId": receipt.company_id,
        "workspaceId": receipt.workspace_id,
        "dataRegion": str(receipt.data_region),
        "traceId": receipt.trace_id,
        "timestamp": plain.text_of_micros(expected(receipt, sent)["timestamp"]),
        "receivedAt": plain.text_of_micros(receipt.received_at),
        "seq": seq,
        "prevHash": prev_hash.hex(),
    }
    groups = groups_of(receipt, sent)
    return plain.leaf(fields, {name: None if group is None else plain.commitment(group[:16], group[16:]) for name, group in groups.items()})


@given(RECEIPTS, st.lists(SENT, min_size=1, max_size=3))
@settings(max_examples=60)
def test_every_field_comes_out_as_it_went_in(receipt: Receipt, sent: list[Sent]) -> None:
    opened = open_envelope(record_of(receipt, sent))
    assert (opened.company_id, opened.workspace_id) == (receipt.company_id, receipt.workspace_id)
    for event, each in zip(opened.events, sent, strict=True):
        values = event._asdict() | dict(zip(FIELDS, event.fields, strict=True))
        del values["pieces"], values["rest"], values["fields"], values["start"], values["end"]
        assert values == expected(receipt, each)


@given(RECEIPTS, SENT, HASHES, st.integers(1, 2**53 - 1))
@settings(max_examples=60)
def test_the_pieces_joined_are_the_canonical_leaf(receipt: Receipt, sent: Sent, prev_hash: bytes, seq: int) -> None:
    (event,) = open_envelope(record_of(receipt, [sent])).events
    assert join(event.pieces, prev_hash, seq) == leaf(receipt, sent, prev_hash, seq)


@given(RECEIPTS, st.lists(SENT, min_size=1, max_size=3))
@settings(max_examples=60)
def test_it_is_the_schemas_avro(receipt: Receipt, sent: list[Sent]) -> None:
    record = record_of(receipt, sent)
    read_back = plain.decode(plain.schema("envelope"), record)
    assert plain.encode(plain.schema("envelope"), read_back) == record
    keys = [plain.accepted_event(item)["idempotencyKey"] for item in read_back["events"]]
    assert keys == [(key := posted.get("idempotencyKey")) and key.encode() for posted, *_ in sent]


@given(RECEIPTS, SENT)
@settings(max_examples=60)
def test_the_record_inside_is_the_public_one_less_five_fields(receipt: Receipt, sent: Sent) -> None:
    (event,) = open_envelope(record_of(receipt, [sent])).events
    record = codec.encode_event(7, bytes(32), bytes(range(32)), 5, 1, event.rest)
    announced = plain.decode(plain.schema("audit_event"), record)
    assert (announced["seq"], announced["hash"], announced["sourceOffset"], announced["sourceIndex"]) == (7, bytes(range(32)), 5, 1)
    assert (announced["id"], announced["dataRegion"], announced["outcome"]) == (event.id_text, receipt.data_region, sent[0].get("outcome"))
    assert [announced[name] and announced[name]["value"].encode() for name in plain.GROUPS] == [
        group and group[SALT_BYTES:] for group in groups_of(receipt, sent).values()
    ]


def test_an_envelope_holds_events() -> None:
    with pytest.raises(Undecodable):
        open_envelope(envelope(codec.tenancy(ONE, OTHER), []))


ONE, OTHER = "019c1388-7149-7198-9612-ea72d1f43751", "019c1388-3aee-711b-a320-f82d163e96fc"
TRACE = "0af7651916cd43dd8448eb211c80319c"
POST = {"category": "auth", "action": "login", "outcome": "SUCCESS", "tenantId": "é", "actor": {"id": "u"}, "metadata": {"n": 1.5}}


@pytest.fixture(scope="module")
def example() -> bytes:
    """A record of two events."""
    receipt = Receipt(ONE, OTHER, Region.US, LATER // 1000, TRACE, b'{"ipAddress":"::1"}')
    return record_of(receipt, [(POST, ONE, bytes(64), None), (POST | {"idempotencyKey": "k"}, OTHER, bytes(64), bytes(32))])


def refused_or_whole(record: bytes) -> None:
    """Either ``Undecodable`` or an envelope with events of its own workspace; nothing else may come of any bytes."""
    try:
        opened = open_envelope(record)
    except Undecodable:
        return
    assert opened.events
    assert all(opened.workspace_id.encode() in event.pieces.tail for event in opened.events)


@given(st.binary(max_size=200))
def test_random_bytes_are_undecodable(data: bytes) -> None:
    for record in (data, codec.ENVELOPE_HEADER + data, codec.ENVELOPE_HEADER + codec.tenancy(ONE, OTHER) + data):
        with pytest.raises(Undecodable):
            open_envelope(record)


@given(data=st.data())
@settings(max_examples=500)
def test_a_mutated_envelope_is_undecodable_or_still_one(example: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(example) - 1))
    end = data.draw(st.integers(at, min(len(example), at + 8)))
    refused_or_whole(example[:at] + data.draw(st.binary(max_size=8)) + example[end:])


def test_every_cut_and_every_byte_too_many_is_undecodable(example: bytes) -> None:
    for end in range(len(example)):
        with pytest.raises(Undecodable):
            open_envelope(example[:end])
    with pytest.raises(Undecodable):
        open_envelope(example + b"\0")


def test_every_byte_set_to_every_extreme_is_survived(example: bytes) -> None:
    for at in range(len(example)):
        for byte in (0x00, 0x01, 0x02, 0x7F, 0x80, 0xFF):
            refused_or_whole(example[:at] + bytes([byte]) + example[at + 1 :])


def test_a_number_that_never_ends_is_undecodable_at_once(example: bytes) -> None:
    """Reading it to its end would take the worker hours: each byte makes the number, and so the next step, longer."""
    start = codec.HEADER_BYTES + 74
    with pytest.raises(Undecodable, match="number"):
        open_envelope(example[:start] + b"\xff" * 1_000_000)


@pytest.mark.parametrize("place", ["company", "workspace", "leaf"])
def test_an_event_of_another_workspace_is_undecodable(example: bytes, place: str) -> None:
    """Else one tenant's event could be chained into another's log."""
    (tenancy, other), swapped = (codec.tenancy(ONE, OTHER), codec.tenancy(ONE, ONE)), codec.tenancy(OTHER, OTHER)
    start = codec.HEADER_BYTES
    spoilt = {
        "company": example[:start] + swapped + example[start + 74 :],
        "workspace": example[:start] + other + example[start + 74 :],
        "leaf": example.replace(f'"workspaceId":"{OTHER}"'.encode(), f'"workspaceId":"{ONE}"'.encode(), 1),
    }
    assert tenancy in example
    with pytest.raises(Undecodable, match="not its envelope's"):
        open_envelope(spoilt[place])


def test_another_schema_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="known schema"):
        open_envelope(codec.EVENT_HEADER + bytes(200))
