"""The chain: what is intact verifies, and nothing that was changed, dropped, swapped, slipped in or cut off does."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.chain import START, Finding, Head, advance, link, verify, verify_head
from schemas.event import GROUPS, Group, StoredEvent
from schemas.leaf import LeafPieces, commitment, leaf_hash, leaf_of
from tests.unit.schemas import plain
from tests.unit.schemas.strategies import STORED, chains

# Where an event came from and when it was erased: told by the operator, and not on the chain.
NOT_HASHED = {"source_offset", "source_index", "erased_at"}
HASHED = [field.name for field in fields(StoredEvent) if field.name not in NOT_HASHED]


def walk(events: list[StoredEvent], stored: Head) -> Finding | None:
    """What an auditor does: the first finding, or ``None``."""
    head = START
    for event in events:
        if finding := verify(head, event):
            return finding
        head = advance(event)
    return verify_head(events[0].workspace_id if events else "", head, stored)


def end_of(events: list[StoredEvent]) -> Head:
    return advance(events[-1])


def plain_leaf(event: StoredEvent) -> bytes:
    named = {
        "id": event.id,
        "companyId": event.company_id,
        "workspaceId": event.workspace_id,
        "projectId": event.project_id,
        "tenantId": event.tenant_id,
        "dataRegion": event.data_region,
        "seq": event.seq,
        "prevHash": event.prev_hash.hex(),
        "timestamp": plain.text_of_micros(event.timestamp),
        "receivedAt": plain.text_of_micros(event.received_at),
        "category": event.category,
        "action": event.action,
        "outcome": event.outcome,
        "traceId": event.trace_id,
    }
    groups = {name: getattr(event, name) for name in plain.GROUPS}
    return plain.leaf(named, {name: None if group is None else group.commitment.hex() for name, group in groups.items()})


@given(STORED.filter(lambda event: event.seq < 2**53))
def test_the_leaf_is_the_canonical_form_of_its_members(event: StoredEvent) -> None:
    assert leaf_of(event) == plain_leaf(event)
    assert leaf_hash(leaf_of(event)).hex() == plain.leaf_hash(plain_leaf(event))


@given(chains())
def test_an_intact_chain_verifies(events: list[StoredEvent]) -> None:
    assert walk(events, end_of(events)) is None


def altered(value: Any) -> st.SearchStrategy[Any]:
    """Another value of the same kind."""
    if isinstance(value, Group):
        return st.just(None) | st.just(replace(value, commitment=bytes(32))) | contents(value)
    if isinstance(value, bytes):
        return st.integers(0, len(value) * 8 - 1).map(lambda bit: flipped(value, bit))
    if isinstance(value, int):
        return st.sampled_from([value - 1, value + 1])
    if isinstance(value, str):
        return st.sampled_from([value + "x", value[:-1], value.upper(), value.lower(), None]).filter(lambda other: other != value)
    return st.just("x")


def contents(group: Group) -> st.SearchStrategy[Group]:
    """The group with one bit of its salt or value flipped, its commitment untouched."""
    sealed = group.sealed or b""
    return st.integers(0, len(sealed) * 8 - 1).map(lambda bit: replace(group, sealed=flipped(sealed, bit)))


def flipped(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


@pytest.mark.parametrize("name", HASHED)
@settings(max_examples=30)
@given(events=chains(), data=st.data())
def test_an_edit_of_any_field_is_found(name: str, events: list[StoredEvent], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    value = getattr(events[place], name)
    other = data.draw(GROUP_FROM_NOTHING if value is None and name in GROUPS else altered(value))
    edited = [*events[:place], replace(events[place], **{name: other}), *events[place + 1 :]]
    finding = walk(edited, end_of(events))
    assert finding is not None
    if name not in ("seq", "hash"):
        assert finding.seq == events[place].seq


GROUP_FROM_NOTHING = st.just(Group(commitment(bytes(16) + b"{}"), bytes(16) + b"{}"))


@given(chains(), st.data())
def test_an_edit_with_its_own_hash_repaired_is_found_at_the_next_event(events: list[StoredEvent], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    edited = replace(events[place], action="x" if events[place].action != "x" else "y")
    finding = walk([*events[:place], replace(edited, hash=leaf_hash(leaf_of(edited))), *events[place + 1 :]], end_of(events))
    last = place == len(events) - 1
    assert finding is not None
    assert (finding.seq, finding.field) == (place + 1, "hash") if last else (place + 2, "prevHash")


@given(chains(min_size=2), st.data())
def test_a_dropped_event_is_found(events: list[StoredEvent], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    assert walk([*events[:place], *events[place + 1 :]], end_of(events)) is not None


@given(chains(min_size=2), st.data())
def test_swapped_events_are_found(events: list[StoredEvent], data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.lists(st.integers(0, len(events) - 1), min_size=2, max_size=2, unique=True)))
    swapped = list(events)
    swapped[first], swapped[second] = (
        replace(events[second], seq=events[first].seq),
        replace(events[first], seq=events[second].seq),
    )
    finding = walk(swapped, end_of(events))
    assert finding is not None
    assert finding.seq == first + 1


@given(chains(), STORED, st.data())
def test_an_event_slipped_in_is_found(events: list[StoredEvent], stranger: StoredEvent, data: st.DataObject) -> None:
    """Though it is linked to the one before it and its hash is right."""
    place = data.draw(st.integers(0, len(events)))
    before = Head(place, events[place - 1].hash) if place else START
    placed = replace(stranger, workspace_id=events[0].workspace_id, seq=before.seq + 1, prev_hash=before.hash)
    inserted = replace(placed, hash=leaf_hash(leaf_of(placed)))
    moved = [replace(event, seq=event.seq + 1) for event in events[place:]]
    assert walk([*events[:place], inserted, *moved], end_of(events)) is not None


@given(chains(), st.data())
def test_a_chain_cut_short_is_found_by_its_head(events: list[StoredEvent], data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(events) - 1))
    finding = walk(events[:kept], end_of(events))
    assert finding is not None
    assert (finding.seq, finding.field) == (kept + 1, "seq")


@given(chains())
def test_a_head_of_another_hash_is_found(events: list[StoredEvent]) -> None:
    finding = walk(events, end_of(events)._replace(hash=bytes(32)))
    assert finding == Finding(events[0].workspace_id, len(events), "hash", f"is {events[-1].hash.hex()}, the head says {'00' * 32}")


@pytest.mark.parametrize("name", GROUPS)
@given(events=chains())
def test_erasing_a_group_breaks_nothing(name: str, events: list[StoredEvent]) -> None:
    groups = [getattr(event, name) for event in events]
    erased = [
        event if group is None else replace(event, **{name: replace(group, sealed=None)}, erased_at=1)
        for event, group in zip(events, groups, strict=True)
    ]
    assert walk(erased, end_of(events)) is None


def test_findings_name_the_place_first_then_groups_then_the_hash() -> None:
    """So that the field says what happened: an order that hides the cause would send an auditor the wrong way."""
    content = bytes(16) + b'{"id":"u-1"}'
    base = replace(STORED_EXAMPLE, actor=Group(commitment(content), content))
    event = replace(base, hash=leaf_hash(leaf_of(base)))
    assert verify(START, event) is None
    spoilt = replace(event, actor=Group(commitment(content), content + b" "), action="changed")
    assert _field(verify(Head(3, event.prev_hash), spoilt)) == "seq"
    assert _field(verify(Head(0, bytes([1]) * 32), spoilt)) == "prevHash"
    assert _field(verify(START, spoilt)) == "actor"
    assert _field(verify(START, replace(event, action="changed"))) == "hash"
    assert _field(verify(START, replace(event, v=2))) == "v"


STORED_EXAMPLE = StoredEvent(
    seq=1,
    prev_hash=bytes(32),
    hash=b"",
    source_offset=0,
    source_index=0,
    id="019c1388-788f-761f-896f-368e373497b6",
    company_id="019c1388-7149-7198-9612-ea72d1f43751",
    workspace_id="019c1388-3aee-711b-a320-f82d163e96fc",
    project_id=None,
    tenant_id=None,
    data_region="US",
    timestamp=0,
    received_at=0,
    category="auth",
    action="login",
    outcome=None,
    trace_id="0" * 31 + "1",
    actor=None,
    resource=None,
    context=None,
    metadata=None,
)


def _field(finding: Finding | None) -> str | None:
    return None if finding is None else finding.field


@given(chains())
def test_linking_goes_on_from_any_head(events: list[StoredEvent]) -> None:
    """The worker joins pieces; the auditor builds the leaf from the fields: both must come to the same hash."""
    head = START
    for event in events:
        leaf = leaf_of(event)
        first, second = leaf.index(b'"prevHash":"') + 12, leaf.index(b'"seq":') + 6
        digits = len(str(event.seq))
        head = link(head, LeafPieces(leaf[:first], leaf[first + 64 : second], leaf[second + digits :]))
        assert head == advance(event)
