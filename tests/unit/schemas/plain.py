"""The published rules in plain code, to check ours against: the rfc8785 package, hashlib, fastavro and the schema files."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import rfc8785
from fastavro.schema import to_parsing_canonical_form

GROUPS = ("actor", "resource", "context", "metadata")
ZERO_HASH = "0" * 64
_SCHEMAS = Path(__file__).parents[3] / "schemas" / "avro"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EMPTY_CRC = 0xC15D213AA4D7A795


def canonical(text: str) -> bytes:
    """RFC 8785 of a JSON text."""
    return rfc8785.dumps(json.loads(text))


def dumps(value: Any) -> bytes:
    """RFC 8785 of a value."""
    return rfc8785.dumps(value)


def commitment(salt: bytes, value: bytes) -> str:
    """What a group's salt and canonical JSON commit to."""
    return sha256(salt + value).hexdigest()


def micros(time: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time."""
    return (datetime.fromisoformat(time.upper()) - _EPOCH) // timedelta(microseconds=1)


def time_text(time: str) -> str:
    """An RFC 3339 time as it stands in the leaf."""
    return datetime.fromisoformat(time.upper()).astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def text_of_micros(micros: int) -> str:
    """The time so many microseconds after 1970."""
    return (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def leaf(fields: Mapping[str, Any], commitments: Mapping[str, str | None]) -> bytes:
    """The leaf of an event's nineteen values."""
    return rfc8785.dumps({**fields, **{f"{name}Commitment": commitments[name] for name in GROUPS}, "v": 1})


def accepted_event(item: Mapping[str, bytes]) -> dict[str, Any]:
    """What the plan of an envelope's event says of its body, member by member."""
    plan = struct.unpack(">HHHIqqBBBBhb4i6h", item["plan"])
    parts = ("leafHead", "leafMiddle", "leafTail", "record")
    tail = ("actorId", "actorEmail", "resourceType", "resourceId", "idempotencyKey", "contentHash")
    found: dict[str, Any] = dict(
        zip(("timestamp", "receivedAt", "categoryAt", "category", "action", "hasProject"), plan[4:10], strict=True)
    )
    found |= {"tenantId": plan[10], "outcome": plan[11], "groups": plan[12:16]}
    body = BytesIO(item["body"])
    for name, size in zip((*parts, *tail), (*plan[:4], *plan[16:]), strict=True):
        found[name] = None if size < 0 else body.read(size)
    assert not body.read()
    return found


def leaf_hash(leaf: bytes) -> str:
    """The leaf hash of RFC 6962 §2.1."""
    return sha256(b"\x00" + leaf).hexdigest()


def schema(name: str) -> dict[str, Any]:
    """A schema as it is published."""
    loaded: dict[str, Any] = json.loads((_SCHEMAS / f"{name}.avsc").read_text("utf-8"))
    return loaded


def fingerprint(schema: dict[str, Any]) -> int:
    """CRC-64-AVRO of the Parsing Canonical Form (Avro 1.12, "Schema Fingerprints")."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_EMPTY_CRC if crc & 1 else 0)
        table.append(crc)
    crc = _EMPTY_CRC
    for byte in to_parsing_canonical_form(schema).encode():
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc


def encode(schema: dict[str, Any], value: Any) -> bytes:
    """Single-object encoding: magic, little-endian fingerprint, body."""
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), value)
    return b"\xc3\x01" + fingerprint(schema).to_bytes(8, "little") + body.getvalue()


def decode(schema: dict[str, Any], record: bytes) -> Any:
    """The value of a record in single-object encoding; all of its bytes count. Times stay microseconds."""
    assert record[:10] == b"\xc3\x01" + fingerprint(schema).to_bytes(8, "little")
    body = BytesIO(record[10:])
    value = fastavro.schemaless_reader(body, fastavro.parse_schema(_without_logical_types(schema)), None)
    assert not body.read()
    return value


def _without_logical_types(schema: Any) -> Any:
    """fastavro turns ``timestamp-micros`` into ``datetime``; the wire has a long."""
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key not in ("logicalType", "__fastavro_parsed__")}
    return [_without_logical_types(item) for item in schema] if isinstance(schema, list) else schema
