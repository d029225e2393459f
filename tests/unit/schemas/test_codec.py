"""The hand-written Avro encoders against fastavro, and the registry of schemas."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import codec
from schemas.event import GROUPS, Group, StoredEvent
from tests.unit.schemas import plain
from tests.unit.schemas.strategies import STORED, TEXT, TRICKY

NAMES = {
    "seq": "seq",
    "prevHash": "prev_hash",
    "hash": "hash",
    "sourceOffset": "source_offset",
    "sourceIndex": "source_index",
    "v": "v",
    "id": "id",
    "companyId": "company_id",
    "workspaceId": "workspace_id",
    "traceId": "trace_id",
    "dataRegion": "data_region",
    "timestamp": "timestamp",
    "receivedAt": "received_at",
    "category": "category",
    "action": "action",
    "projectId": "project_id",
    "tenantId": "tenant_id",
    "outcome": "outcome",
}


def written(schema: Any, value: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def public(event: StoredEvent) -> dict[str, Any]:
    """The event as a value of the public schema."""
    return {name: getattr(event, field) for name, field in NAMES.items()} | {name: _group(getattr(event, name)) for name in GROUPS}


def _group(group: Group | None) -> dict[str, Any] | None:
    if group is None:
        return None
    return {"commitment": group.commitment, "salt": group.salt, "value": None if group.value is None else group.value.decode()}


@given(
    st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 62).flatmap(lambda bits: st.sampled_from([2**bits - 1, 2**bits, -(2**bits), -(2**bits) - 1]))
)
@example(2**55 - 1)
@example(2**55)
@example(-(2**55))
@example(-(2**55) - 1)
def test_long(value: int) -> None:
    assert codec.long(value) == written("long", value)


@given(st.binary(max_size=300) | st.sampled_from([8191, 8192, 70_000]).map(bytes))
def test_bytes(value: bytes) -> None:
    assert codec.data(value) == written("bytes", value)


@given(st.none() | TEXT | TRICKY)
def test_optional_text(value: str | None) -> None:
    assert codec.optional(value) == written(["null", "string"], value)


@given(STORED)
def test_a_record_is_what_fastavro_writes_and_reads(event: StoredEvent) -> None:
    record = codec.encode_stored(event)
    assert record == plain.encode(plain.schema("audit_event"), public(event))
    assert plain.decode(plain.schema("audit_event"), record) == public(event)


@given(STORED, st.sampled_from(GROUPS))
def test_so_is_that_of_an_erased_event(event: StoredEvent, name: str) -> None:
    change: dict[str, Any] = {name: Group(bytes(range(32)), None)}
    erased = replace(event, **change)
    assert codec.encode_stored(erased) == plain.encode(plain.schema("audit_event"), public(erased))


@given(STORED)
def test_announcing_again_from_the_database_gives_the_same_bytes(event: StoredEvent) -> None:
    record = codec.encode_stored(event)
    first = (codec.long(event.seq), event.prev_hash, event.hash, codec.long(event.source_offset), codec.long(event.source_index))
    rest = record[codec.HEADER_BYTES + sum(map(len, first)) :]
    assert codec.encode_event(event.seq, event.prev_hash, event.hash, event.source_offset, event.source_index, rest) == record


@pytest.mark.parametrize("name", ["audit_event", "envelope", "rejected_event", "archive_work"])
def test_fingerprints_are_crc_64_avro(name: str) -> None:
    schema = plain.schema(name)
    assert f"{plain.fingerprint(schema):016x}" == codec.schema_fingerprint(schema)
    assert codec.SCHEMAS[codec.schema_fingerprint(schema)] == schema


def test_every_kind_of_record_begins_with_its_own_header() -> None:
    headers = (codec.EVENT_HEADER, codec.ENVELOPE_HEADER, codec.REJECTED_HEADER, codec.ARCHIVE_HEADER)
    prints = [bytes.fromhex(fingerprint)[::-1] for fingerprint in codec.SCHEMAS]
    assert list(headers) == [b"\xc3\x01" + little_endian for little_endian in prints]
