"""Rows of ``events`` straight into lines of JSONL: byte for byte what ``schemas.view.render`` gives (a property test compares them).

One event through a ``StoredEvent`` takes 10 µs with verification, 8 without; this way 3.4 and 1.9. What was dear: making an object
that is taken apart at once, a call of orjson for each word, and reading a column by its number each time it is needed.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import orjson

from ops.rows import EVENT_COLUMNS
from schemas.event import SALT_BYTES, StoredEvent, format_time
from schemas.topics import Region
from schemas.view import render

_NULL = b"null"
_ABSENT = b"0" * 64
_COLUMNS = EVENT_COLUMNS.count(",") + 1
_EVENT = (
    b'{"id":"%b","companyId":"%b","workspaceId":"%b","projectId":%b,"tenantId":%b,"dataRegion":"%b","seq":%d,'
    b'"timestamp":"%b%06dZ","receivedAt":"%b%06dZ","category":%b,"action":%b,"outcome":%b,'
    b'"actor":%b,"resource":%b,"context":%b,"metadata":%b,"traceId":"%b","prevHash":"%b","hash":"%b"'
)
_VERIFICATION = (
    b',"verification":{"v":1,"commitments":{"actor":%b,"resource":%b,"context":%b,"metadata":%b},'
    b'"salts":{"actor":%b,"resource":%b,"context":%b,"metadata":%b}}'
)


def of_events(events: Iterable[StoredEvent], *, verification: bool) -> bytes:
    """The lines of events."""
    return b"".join([render(event, verification=verification) + b"\n" for event in events])


def of_rows(rows: Sequence[Any], region: Region, *, verification: bool) -> bytes:
    """The lines of rows that begin with ``ops.rows.EVENT_COLUMNS``, all of one workspace."""
    if not rows:
        return b""
    company, workspace, data_region = str(rows[0][6]).encode(), str(rows[0][7]).encode(), region.value.encode()
    pieces: list[bytes] = []
    for row in rows:
        (
            seq, prev_hash, own_hash, _offset, _index, event_id, _company, _workspace, project, tenant, trace, at, received,
            category, action, outcome, commitments, actor, resource, context, metadata, erased,
        ) = row[:_COLUMNS]  # fmt: skip
        pieces.append(
            _EVENT
            % (
                str(event_id).encode(),
                company,
                workspace,
                _NULL if project is None else _text(str(project)),
                _NULL if tenant is None else _text(tenant),
                data_region,
                seq,
                _second(at // 1_000_000),
                at % 1_000_000,
                _second(received // 1_000_000),
                received % 1_000_000,
                _text(category),
                _text(action),
                _NULL if outcome is None else _text(outcome),
                _NULL if actor is None else actor[SALT_BYTES:],
                _NULL if resource is None else resource[SALT_BYTES:],
                _NULL if context is None else context[SALT_BYTES:],
                _NULL if metadata is None else metadata[SALT_BYTES:],
                hexlify(trace.bytes),
                hexlify(prev_hash),
                hexlify(own_hash),
            )
        )
        if erased is not None:
            pieces.append(b',"erasedAt":"%b"' % format_time(erased).encode())
        if verification:
            digits = hexlify(commitments)
            of_groups = (_commitment(digits[:64]), _commitment(digits[64:128]), _commitment(digits[128:192]), _commitment(digits[192:]))
            pieces.append(_VERIFICATION % (*of_groups, _salt(actor), _salt(resource), _salt(context), _salt(metadata)))
        pieces.append(b"}\n")
    return b"".join(pieces)


def _commitment(digits: bytes) -> bytes:
    return _NULL if digits == _ABSENT else b'"%b"' % digits


def _salt(sealed: bytes | None) -> bytes:
    return _NULL if sealed is None else b'"%b"' % hexlify(sealed[:SALT_BYTES])


@lru_cache(maxsize=4096)
def _text(value: str) -> bytes:
    return orjson.dumps(value)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> bytes:
    """The time down to the point before its fraction."""
    return format_time(seconds * 1_000_000)[:-7].encode()
