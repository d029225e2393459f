"""The event as it goes out: every field, in the contract's order, with the groups byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import canonical
from schemas.event import GROUPS, Group, StoredEvent, format_time
from schemas.leaf import commitment, join, leaf_hash, leaf_pieces
from schemas.view import render

FIELDS = [
    "id",
    "companyId",
    "workspaceId",
    "projectId",
    "tenantId",
    "dataRegion",
    "seq",
    "timestamp",
    "receivedAt",
    "category",
    "action",
    "outcome",
    "actor",
    "resource",
    "context",
    "metadata",
    "traceId",
    "prevHash",
    "hash",
]
MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
UUIDS = st.uuids().map(str)
GROUP = st.builds(
    lambda salt, value: Group(commitment(salt + canonical(value)), salt + canonical(value)),
    st.binary(min_size=16, max_size=16),
    st.dictionaries(TEXT, TEXT | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e6, 1e6) | st.none(), max_size=4),
)
EVENTS = st.builds(
    StoredEvent,
    seq=st.integers(1, 2**53 - 1),  # what a JSON number can say
    prev_hash=st.binary(min_size=32, max_size=32),
    hash=st.binary(min_size=32, max_size=32),
    source_offset=st.just(0),
    source_index=st.just(0),
    id=UUIDS,
    company_id=UUIDS,
    workspace_id=UUIDS,
    project_id=st.none() | UUIDS,
    tenant_id=st.none() | TEXT,
    data_region=st.sampled_from(["US", "EU", "UK", "AU"]),
    timestamp=MICROS,
    received_at=MICROS,
    category=st.from_regex(r"[a-z][a-z0-9._-]{0,63}", fullmatch=True),
    action=st.from_regex(r"[A-Za-z0-9._:/-]{1,128}", fullmatch=True),
    outcome=st.sampled_from([None, "SUCCESS", "FAILURE", "DENIED"]),
    trace_id=st.uuids().map(lambda made: made.hex),
    actor=st.none() | GROUP,
    resource=st.none() | GROUP,
    context=st.none() | GROUP,
    metadata=st.none() | GROUP,
)


@given(EVENTS)
def test_all_fields_are_there_in_order_and_right(event: StoredEvent) -> None:
    shown = json.loads(render(event, verification=False))
    assert list(shown) == FIELDS
    assert (shown["id"], shown["seq"], shown["tenantId"], shown["hash"]) == (event.id, event.seq, event.tenant_id, event.hash.hex())
    assert (shown["timestamp"], shown["receivedAt"]) == (format_time(event.timestamp), format_time(event.received_at))


@given(EVENTS)
def test_groups_go_out_byte_for_byte(event: StoredEvent) -> None:
    body = render(event, verification=True)
    for name in GROUPS:
        group = getattr(event, name)
        value = b"null" if group is None else group.value
        assert b'"%b":%b,' % (name.encode(), value) in body


@given(EVENTS)
def test_leaf_and_hash_can_be_computed_from_what_is_shown(event: StoredEvent) -> None:
    """Only the answer, the published layout and SHA-256: no other knowledge of ours."""
    shown = json.loads(render(event, verification=True))
    commitments = shown["verification"]["commitments"]
    for name in GROUPS:
        if shown[name] is not None:
            assert sha256(bytes.fromhex(shown["verification"]["salts"][name]) + canonical(shown[name])).hexdigest() == commitments[name]
    pieces = leaf_pieces(
        id=shown["id"],
        company_id=shown["companyId"],
        workspace_id=shown["workspaceId"],
        project_id=shown["projectId"],
        tenant_id=shown["tenantId"],
        data_region=shown["dataRegion"],
        timestamp=shown["timestamp"],
        received_at=shown["receivedAt"],
        category=shown["category"],
        action=shown["action"],
        outcome=shown["outcome"],
        trace_id=shown["traceId"],
        commitments=tuple(commitments[name] for name in GROUPS),
    )
    joined = join(pieces, event.prev_hash, event.seq)
    leaf = {name: shown[name] for name in FIELDS if name not in (*GROUPS, "hash")} | {"v": 1}
    leaf |= {f"{name}Commitment": commitments[name] for name in GROUPS}
    assert canonical(leaf) == joined
    assert leaf_hash(joined) == sha256(b"\0" + canonical(leaf)).digest()


@given(EVENTS, MICROS)
def test_an_erased_group_is_null_its_commitment_is_not_and_the_time_is_told(event: StoredEvent, erased_at: int) -> None:
    group = Group(bytes(range(32)), None)
    shown = json.loads(render(replace(event, actor=group, erased_at=erased_at), verification=True))
    assert shown["actor"] is None
    assert shown["erasedAt"] == format_time(erased_at)
    assert (shown["verification"]["commitments"]["actor"], shown["verification"]["salts"]["actor"]) == (group.commitment.hex(), None)
