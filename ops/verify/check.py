"""Checking stored rows: fast where all is well, and in words where not.

``admit`` takes about 5 µs a row. It writes the leaf by itself, from the published table of
contract §5: an implementation of its own, so that a slip in ``schemas.leaf`` can't hide itself (the
tests compare the two). A row it does not admit goes to ``explain``, which asks ``schemas.chain`` and
then every rule about the columns that are not on the chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import orjson

from ops.db import Row
from ops.rows import to_stored
from schemas.chain import START, Finding, Head, verify
from schemas.event import GROUPS, SALT_BYTES, format_time
from schemas.topics import Region

_DAY_MICROS = 86_400_000_000
_ABSENT = bytes(32)
_NO_DIGITS = _ABSENT.hex()
_FIRST_DAY = -(2**31)
_CONTRADICTION = ("hash", "is right by one implementation of the leaf and wrong by the other")
_EXTRACTED = (
    ("actor_id", "actor", "id"),
    ("actor_email", "actor", "email"),
    ("resource_type", "resource", "type"),
    ("resource_id", "resource", "id"),
)


class _Bad(Exception):
    """The row is not to be admitted; ``explain`` says why."""


@dataclass(slots=True)
class Walk:
    """How far a workspace's chain has been walked: all that the next row is compared with."""

    region: str
    workspace_id: UUID
    company_id: UUID
    seq: int = START.seq
    hash: bytes = START.hash
    archive_day: int = _FIRST_DAY
    """Days since 1970, never falling along the chain (contract §7)."""
    partition: int | None = None
    position: tuple[int, int] = (-1, -1)
    """Source offset and index, rising along the chain; the partition never changes."""


def admit(walk: Walk, row: Row) -> bool:
    """Whether the row is the next link of its workspace, intact in every column; if so, ``walk`` moves on."""
    (
        seq, prev_hash, found, offset, index, event_id, company_id, workspace_id, project_id, tenant_id, trace_id,
        occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at,
        partition, archive_day, actor_id, actor_email, resource_type, resource_id,
    ) = row  # fmt: skip
    expected_seq, expected_prev = walk.seq + 1, walk.hash
    try:
        digits = commitments.hex()
        leaf = (
            f'\0{{"action":"{action}","actorCommitment":{_commitment(actor, digits[:64], erased_at)},"category":"{category}",'
            f'"companyId":"{company_id}","contextCommitment":{_commitment(context, digits[128:192], erased_at)},'
            f'"dataRegion":"{walk.region}","id":"{event_id}","metadataCommitment":{_commitment(metadata, digits[192:], erased_at)},'
            f'"outcome":{_text(outcome)},"prevHash":"{expected_prev.hex()}","projectId":{_text(project_id)},'
            f'"receivedAt":"{format_time(received_at)}","resourceCommitment":{_commitment(resource, digits[64:128], erased_at)},'
            f'"seq":{expected_seq},"tenantId":{"null" if tenant_id is None else orjson.dumps(tenant_id).decode()},'
            f'"timestamp":"{format_time(occurred_at)}","traceId":"{trace_id.hex}","v":1,"workspaceId":"{workspace_id}"}}'
        )
        digest = sha256(leaf.encode()).digest()
        intact = (
            digest == found
            and prev_hash == expected_prev
            and seq == expected_seq
            and archive_day == max(walk.archive_day, received_at // _DAY_MICROS)
            and (actor_id, actor_email) == _members(actor, "id", "email")
            and (resource_type, resource_id) == _members(resource, "type", "id")
            and partition == (partition if walk.partition is None else walk.partition)
            and (offset, index) > walk.position
            and (erased_at is None or _is_erased(row))
        )
    except (_Bad, ValueError, TypeError, AttributeError, OverflowError):
        return False
    if intact:
        walk.seq, walk.hash, walk.archive_day, walk.partition, walk.position = seq, digest, archive_day, partition, (offset, index)
    return intact


def explain(walk: Walk, row: Row) -> Finding:
    """What is wrong with a row that ``admit`` refused: the first field, in an order that tells the cause."""
    try:
        event = to_stored(row, Region(walk.region))
        found = verify(Head(walk.seq, walk.hash), event)
        field, message = (found.field, found.message) if found else next(_beside_the_chain(walk, row), _CONTRADICTION)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        field, message = "row", f"can't be read: {error}"
    return Finding(str(walk.workspace_id), row["seq"], field, message)


def _beside_the_chain(walk: Walk, row: Row) -> Iterator[tuple[str, str]]:
    """What breaks a rule about columns that no hash covers, as (field, message)."""
    for name, commitment in _committed(row):
        if row[name] is not None and commitment == _ABSENT:
            yield name, "holds a value that nothing commits to"
        if row[name] is None and commitment != _ABSENT and row["erased_at"] is None:
            yield name, "is missing, though it was never erased"
    if row["erased_at"] is not None and not _is_erased(row):
        yield "erased_at", "is set, though nothing was erased"
    for column, group, member in _EXTRACTED:
        expected = _members(row[group], member, member)[0]
        if row[column] != expected:
            yield column, f"is {row[column]!r}, the event's {group} says {expected!r}"
    day = max(walk.archive_day, row["received_at"] // _DAY_MICROS)
    if row["archive_day"] != day:
        yield "archive_day", f"is day {row['archive_day']} since 1970, it has to be {day}"
    if walk.partition not in (None, row["source_partition"]):
        yield "source_partition", f"is {row['source_partition']}, the chain is in {walk.partition}"
    position = (row["source_offset"], row["source_index"])
    if position <= walk.position:
        yield "source_offset", f"{position} is not behind {walk.position}"


def _commitment(sealed: bytes | None, digits: str, erased_at: int | None) -> str:
    """The JSON value of a commitment of those hex digits. Raises ``_Bad`` when the group is not what it commits to."""
    if sealed is not None:
        if sha256(sealed).hexdigest() != digits:
            raise _Bad
    elif digits == _NO_DIGITS:
        return "null"
    elif erased_at is None:
        raise _Bad
    return f'"{digits}"'


def _members(sealed: bytes | None, first: str, second: str) -> tuple[str | None, str | None]:
    """Two members of a group, as they were copied out of it for filters."""
    if sealed is None:
        return None, None
    value: dict[str, str] = orjson.loads(sealed[SALT_BYTES:])
    return value.get(first), value.get(second)


def _is_erased(row: Row) -> bool:
    """Whether at least one group that is committed to has gone."""
    return any(row[name] is None and commitment != _ABSENT for name, commitment in _committed(row))


def _committed(row: Row) -> Iterator[tuple[str, bytes]]:
    """The groups' names, each with its commitment (zeros: the event has no such group)."""
    commitments = row["commitments"]
    return ((name, commitments[32 * place : 32 * place + 32]) for place, name in enumerate(GROUPS))


def _text(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'
