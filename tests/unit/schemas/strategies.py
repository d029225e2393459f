"""Values that hypothesis makes up: admissible JSON, events as posted, requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from schemas.canonical import MAX_INTEGER
from schemas.envelope import SALTS_BYTES, Receipt
from schemas.event import GROUPS as EVENT_GROUPS
from schemas.event import SALT_BYTES, Group, StoredEvent
from schemas.leaf import ZERO_HASH, commitment, leaf_hash, leaf_of
from schemas.topics import Region
from tests.unit.schemas import plain

MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999) | st.datetimes().map(
    lambda time: plain.micros(f"{time.isoformat()}Z")
)
"""Every microsecond of the years 1 to 9999."""
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# What sorts and escapes differently: controls, quotes, and what lies above and below the surrogates.
TRICKY = st.text(st.sampled_from('aA\x01\x1f"\\/\x7f\x80é\u2028\ud7ff\ue000\uffff\U00010000\U0001f600:'), max_size=6)
INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
FLOATS = (
    st.floats(-float(MAX_INTEGER), float(MAX_INTEGER), allow_nan=False)
    | st.builds(lambda digits, exponent: digits * 10.0**exponent, st.integers(-(10**6), 10**6), st.integers(-330, 9))
    | INTEGERS.map(float)
)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXT | TRICKY
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | TRICKY, inner, max_size=4), max_leaves=12
)
OBJECTS = st.dictionaries(TEXT | TRICKY, VALUES, max_size=4)
UUIDS = st.uuids().map(str)
SALTS = st.binary(min_size=SALTS_BYTES, max_size=SALTS_BYTES)
HASHES = st.binary(min_size=32, max_size=32)

_EXTRACTED = st.none() | TEXT.filter(lambda text: len(text.encode()) <= 255)


def _object(*extracted: str) -> st.SearchStrategy[dict[str, Any]]:
    known = st.fixed_dictionaries({}, optional=dict.fromkeys((*extracted, "name"), _EXTRACTED))
    return st.builds(lambda others, named: {**others, **named}, _others(*extracted, "name"), known)


def _others(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return OBJECTS.map(lambda members: {name: value for name, value in members.items() if name not in names})


POSTED = st.fixed_dictionaries(
    {
        "category": st.from_regex(r"[a-z][a-z0-9._-]{0,63}", fullmatch=True),
        "action": st.from_regex(r"[A-Za-z0-9._:/-]{1,128}", fullmatch=True),
    },
    optional={
        "timestamp": st.none() | MICROS.map(plain.text_of_micros),
        "projectId": st.none() | UUIDS,
        "tenantId": st.none() | TEXT.filter(bool) | TRICKY.filter(bool),
        "outcome": st.sampled_from([None, "SUCCESS", "FAILURE", "DENIED"]),
        "actor": st.none() | _object("id", "type", "email", "role"),
        "resource": st.none() | _object("type", "id"),
        "metadata": st.none() | OBJECTS,
        "idempotencyKey": st.none() | st.from_regex(r"[\x20-\x7e]{1,255}", fullmatch=True),
    },
)
"""Valid events, as JSON values."""

CONTEXTS = st.none() | st.fixed_dictionaries({}, optional={"ipAddress": st.ip_addresses().map(str), "userAgent": TEXT}).map(plain.dumps)
RECEIPTS = st.builds(
    Receipt,
    company_id=UUIDS,
    workspace_id=UUIDS,
    data_region=st.sampled_from(Region),
    received_at=MICROS,
    trace_id=st.uuids().map(lambda made: made.hex),
    context=CONTEXTS,
)


def _group(salt: bytes, value: dict[str, Any]) -> Group:
    content = salt + plain.dumps(value)
    return Group(commitment(content), content)


GROUPS = st.none() | st.builds(_group, st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES), OBJECTS)
STORED = st.builds(
    StoredEvent,
    seq=st.integers(1, 2**63 - 1),
    prev_hash=HASHES,
    hash=HASHES,
    source_offset=st.integers(0, 2**63 - 1),
    source_index=st.integers(0, 999),
    id=UUIDS,
    company_id=UUIDS,
    workspace_id=UUIDS,
    project_id=st.none() | UUIDS,
    tenant_id=st.none() | TEXT | TRICKY,
    data_region=st.sampled_from(["US", "EU", "UK", "AU"]),
    timestamp=MICROS,
    received_at=MICROS,
    category=st.from_regex(r"[a-z][a-z0-9._-]{0,63}", fullmatch=True),
    action=st.from_regex(r"[A-Za-z0-9._:/-]{1,128}", fullmatch=True),
    outcome=st.sampled_from([None, "SUCCESS", "FAILURE", "DENIED"]),
    trace_id=st.uuids().map(lambda made: made.hex),
    actor=GROUPS,
    resource=GROUPS,
    context=GROUPS,
    metadata=GROUPS,
)
"""Stored events whose groups fit their commitments; hash and prevHash are made up."""


# Few draws an event: what matters to a chain is that events differ, and that groups are absent, empty and full.
_LINKS = st.builds(
    StoredEvent,
    seq=st.just(0),
    prev_hash=st.just(ZERO_HASH),
    hash=st.just(b""),
    source_offset=st.just(7),
    source_index=st.just(0),
    id=UUIDS,
    company_id=st.just("019c1388-7149-7198-9612-ea72d1f43751"),
    workspace_id=st.just("019c1388-3aee-711b-a320-f82d163e96fc"),
    project_id=st.sampled_from([None, "019c1388-0000-7198-9612-ea72d1f43751"]),
    tenant_id=st.sampled_from([None, "customer", 'é"\U0001f600']),
    data_region=st.sampled_from(["US", "EU"]),
    timestamp=st.sampled_from([-1, 0, 1_770_000_000_000_000]),
    received_at=st.just(1_770_000_000_000_001),
    category=st.just("auth"),
    action=st.sampled_from(["login", "Logout"]),
    outcome=st.sampled_from([None, "SUCCESS", "DENIED"]),
    trace_id=st.just("0af7651916cd43dd8448eb211c80319c"),
    **dict.fromkeys(EVENT_GROUPS, st.sampled_from([None, _group(bytes(16), {}), _group(b"salt" * 4, {"id": "u-1", "n": 1.5})])),
)


@st.composite
def chains(draw: st.DrawFn, min_size: int = 1) -> list[StoredEvent]:
    """A workspace's first events, rightly linked."""
    linked: list[StoredEvent] = []
    prev_hash = ZERO_HASH
    for seq, event in enumerate(draw(st.lists(_LINKS, min_size=min_size, max_size=4)), 1):
        placed = replace(event, seq=seq, prev_hash=prev_hash)
        linked.append(replace(placed, hash=leaf_hash(leaf_of(placed))))
        prev_hash = linked[-1].hash
    return linked
