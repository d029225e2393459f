"""Values that hypothesis makes up: admissible JSON, events as posted, requests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from schemas.canonical import MAX_INTEGER
from schemas.envelope import SALTS_BYTES, Receipt
from schemas.topics import Region
from tests.unit.schemas import plain

MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
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
