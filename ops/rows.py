"""From a row of ``events`` to a ``StoredEvent``: the one place that knows how the columns hold an event."""

from __future__ import annotations

from ops.db import Row
from schemas.event import Group, StoredEvent
from schemas.topics import Region

EVENT_COLUMNS = (
    "seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id, "
    "occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at"
)
"""The select list that ``to_stored`` reads, in its order."""
_ABSENT = bytes(32)


def to_stored(row: Row, region: Region) -> StoredEvent:
    """The event of a row selected by ``EVENT_COLUMNS`` on a pool of ``db.open_pool`` (times in microseconds)."""
    commitments = row[16]
    return StoredEvent(
        seq=row[0],
        prev_hash=row[1],
        hash=row[2],
        source_offset=row[3],
        source_index=row[4],
        id=str(row[5]),
        company_id=str(row[6]),
        workspace_id=str(row[7]),
        project_id=None if row[8] is None else str(row[8]),
        tenant_id=row[9],
        data_region=region.value,
        timestamp=row[11],
        received_at=row[12],
        category=row[13],
        action=row[14],
        outcome=row[15],
        trace_id=row[10].hex,
        actor=_group(commitments[:32], row[17]),
        resource=_group(commitments[32:64], row[18]),
        context=_group(commitments[64:96], row[19]),
        metadata=_group(commitments[96:], row[20]),
        erased_at=row[21],
    )


def _group(commitment: bytes, sealed: bytes | None) -> Group | None:
    return None if commitment == _ABSENT else Group(commitment, sealed)
