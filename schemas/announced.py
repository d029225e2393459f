"""Taking a record of the events topic apart: what ``codec.encode_event`` announced, as the event it is.

By hand, since a general reader gives dictionaries and dates that would have to be taken apart again. Whatever
is no whole record of the schema is refused; its bytes may come from anywhere.
"""

from __future__ import annotations

import re
from typing import Final

from schemas.codec import EVENT_HEADER, HEADER_BYTES, OUTCOMES, Undecodable
from schemas.event import FIRST_TIME, LAST_TIME, SALT_BYTES, Group, StoredEvent
from schemas.ids import UUID_BYTES
from schemas.reading import data_at, long_at
from schemas.topics import REGIONS

_HASH_BYTES: Final = 32
# From `v` to `traceId` every field has one size: version 1, three ids of 36 bytes, a trace id of 32.
_IDS = re.compile(rb"\x02H(%b)H(%b)H(%b)@([0-9a-f]{32})" % (UUID_BYTES, UUID_BYTES, UUID_BYTES)).match
_IS_UUID = re.compile(UUID_BYTES).fullmatch
_REGION_NAMES: Final = tuple(region.value for region in REGIONS)
_NULL, _PRESENT = 0, 2
_LAST_PLACE, _LAST_INDEX = 2**63 - 1, 2**31 - 1


def open_event(record: bytes) -> StoredEvent:
    """The event of a public record. Raises ``Undecodable``."""
    if record[:HEADER_BYTES] != EVENT_HEADER:
        raise Undecodable("not an event of a known schema")
    try:
        return _open(record)
    except (IndexError, UnicodeDecodeError) as error:
        raise Undecodable(f"the record is cut or garbled: {type(error).__name__}") from None


def _open(record: bytes) -> StoredEvent:
    seq, at = long_at(record, HEADER_BYTES)
    hash_at, end = at + _HASH_BYTES, at + 2 * _HASH_BYTES
    prev_hash, own_hash = record[at:hash_at], record[hash_at:end]
    source_offset, at = long_at(record, end)
    source_index, at = long_at(record, at)
    ids = _IDS(record, at)
    if ids is None or not 1 <= seq <= _LAST_PLACE:
        raise Undecodable("the record has no valid seq and ids")
    if not (0 <= source_offset <= _LAST_PLACE and 0 <= source_index <= _LAST_INDEX):
        raise Undecodable("the record comes from no place of the ingest topic")
    event_id, company_id, workspace_id, trace_id = ids.groups()
    region, at = long_at(record, ids.end())
    timestamp, at = _time_at(record, at)
    received_at, at = _time_at(record, at)
    category, at = data_at(record, at)
    action, at = data_at(record, at)
    project_id, at = _optional_at(record, at)
    tenant_id, at = _optional_at(record, at)
    outcome, at = _outcome_at(record, at)
    actor, at = _group_at(record, at)
    resource, at = _group_at(record, at)
    context, at = _group_at(record, at)
    metadata, at = _group_at(record, at)
    if at != len(record) or not 0 <= region < len(_REGION_NAMES):
        raise Undecodable("the record does not end with its metadata, or names no region")
    if project_id is not None and not _IS_UUID(project_id):
        raise Undecodable("a project's id is not a UUID")
    return StoredEvent(
        seq=seq,
        prev_hash=prev_hash,
        hash=own_hash,
        source_offset=source_offset,
        source_index=source_index,
        id=event_id.decode(),
        company_id=company_id.decode(),
        workspace_id=workspace_id.decode(),
        project_id=None if project_id is None else project_id.decode(),
        tenant_id=None if tenant_id is None else tenant_id.decode(),
        data_region=_REGION_NAMES[region],
        timestamp=timestamp,
        received_at=received_at,
        category=category.decode(),
        action=action.decode(),
        outcome=outcome,
        trace_id=trace_id.decode(),
        actor=actor,
        resource=resource,
        context=context,
        metadata=metadata,
    )


def _time_at(record: bytes, at: int) -> tuple[int, int]:
    time, at = long_at(record, at)
    if not FIRST_TIME <= time <= LAST_TIME:
        raise Undecodable("a time lies outside of the years 1 to 9999")
    return time, at


def _is_present(record: bytes, at: int) -> bool:
    """Which branch of a union with null it is."""
    if record[at] not in (_NULL, _PRESENT):
        raise Undecodable("a union has no such branch")
    return record[at] == _PRESENT


def _optional_at(record: bytes, at: int) -> tuple[bytes | None, int]:
    return data_at(record, at + 1) if _is_present(record, at) else (None, at + 1)


def _outcome_at(record: bytes, at: int) -> tuple[str | None, int]:
    if not _is_present(record, at):
        return None, at + 1
    index, at = long_at(record, at + 1)
    if not 0 <= index < len(OUTCOMES):
        raise Undecodable("there is no such outcome")
    return OUTCOMES[index], at


def _group_at(record: bytes, at: int) -> tuple[Group | None, int]:
    if not _is_present(record, at):
        return None, at + 1
    salt_at = at + 1 + _HASH_BYTES
    commitment = record[at + 1 : salt_at]
    has_salt = _is_present(record, salt_at)
    value_at = salt_at + 1 + (SALT_BYTES if has_salt else 0)
    if _is_present(record, value_at) != has_salt:
        raise Undecodable("a group has a value and no salt, or a salt and no value")
    if not has_salt:
        return Group(commitment, None), value_at + 1
    value, end = data_at(record, value_at + 1)
    return Group(commitment, record[salt_at + 1 : value_at] + value), end
