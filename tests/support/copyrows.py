"""Rows of PostgreSQL's binary COPY, read back in plain code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from streams.copyrow import COLUMNS

_EPOCH_MICROS, _EPOCH_DAYS = 946_684_800_000_000, 10_957


def _int(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


def _uuid(value: bytes) -> str:
    return str(UUID(bytes=value))


_READ: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("seq", "source_offset", "source_partition", "source_index"), _int),
    **dict.fromkeys(("occurred_at", "received_at"), lambda value: _int(value) + _EPOCH_MICROS),
    **dict.fromkeys(("id", "company_id", "workspace_id", "project_id", "trace_id"), _uuid),
    **dict.fromkeys(
        ("category", "action", "outcome", "tenant_id", "actor_id", "actor_email", "resource_type", "resource_id"), bytes.decode
    ),
    "archive_day": lambda value: _int(value) + _EPOCH_DAYS,
}


def decode(row: bytes) -> dict[str, Any]:
    """One row of ``events`` by column; times in microseconds, days since 1970, both from 1970."""
    assert _int(row[:2]) == len(COLUMNS)
    values: dict[str, Any] = {}
    at = 2
    for name in COLUMNS:
        size = _int(row[at : at + 4])
        at += 4
        values[name] = None if size < 0 else _READ.get(name, bytes)(row[at : at + size])
        at += max(size, 0)
    assert at == len(row)
    return values
