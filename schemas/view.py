"""The event as everybody gets it: queries, waiting requests, webhooks, tails and exports alike (contract §2 "Out, everywhere").

The JSON is joined, not built: a group's canonical bytes go out exactly as they were committed to.
"""

from __future__ import annotations

import orjson

from schemas.event import GROUPS, Group, StoredEvent, format_time

_NULL = b"null"


def render(event: StoredEvent, *, verification: bool) -> bytes:
    """The event's JSON object. With ``verification``, all that leaf and hash can be computed from again is in it."""
    return b'{"id":"%b","companyId":"%b","workspaceId":"%b","projectId":%b,"tenantId":%b,"dataRegion":"%b","seq":%d,%b' % (
        event.id.encode(),
        event.company_id.encode(),
        event.workspace_id.encode(),
        _text(event.project_id),
        _text(event.tenant_id),
        event.data_region.encode(),
        event.seq,
        b'"timestamp":"%b","receivedAt":"%b","category":%b,"action":%b,"outcome":%b,'
        b'"actor":%b,"resource":%b,"context":%b,"metadata":%b,"traceId":"%b","prevHash":"%b","hash":"%b"%b%b}'
        % (
            format_time(event.timestamp).encode(),
            format_time(event.received_at).encode(),
            _text(event.category),
            _text(event.action),
            _text(event.outcome),
            _value(event.actor),
            _value(event.resource),
            _value(event.context),
            _value(event.metadata),
            event.trace_id.encode(),
            event.prev_hash.hex().encode(),
            event.hash.hex().encode(),
            b"" if event.erased_at is None else b',"erasedAt":"%b"' % format_time(event.erased_at).encode(),
            b',"verification":' + _verification(event) if verification else b"",
        ),
    )


def _verification(event: StoredEvent) -> bytes:
    groups: list[tuple[str, Group | None]] = [(name, getattr(event, name)) for name in GROUPS]
    return orjson.dumps(
        {
            "v": event.v,
            "commitments": {name: group and group.commitment.hex() for name, group in groups},
            "salts": {name: group.salt.hex() if group and group.salt else None for name, group in groups},
        }
    )


def _text(value: str | None) -> bytes:
    return _NULL if value is None else orjson.dumps(value)


def _value(group: Group | None) -> bytes:
    return _NULL if group is None or group.value is None else group.value
