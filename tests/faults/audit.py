"""What the audit tells of management calls: of each exactly one entry, found by the call's trace id."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson

from schemas.event import SALT_BYTES
from tests.faults.checker import Verdict
from tests.faults.management import MADE, Call, Manager
from tests.faults.standing import superuser

if TYPE_CHECKING:
    from schemas.topics import Region
    from tests.faults.cluster import Cluster

_REFUSALS = frozenset(("400", "401", "403", "404", "409", "429"))
_AUDIT_WORKSPACES = "SELECT id FROM workspace WHERE kind = 'AUDIT' AND company_id = ANY($1::uuid[])"
_ENTRIES = """
SELECT e.trace_id, e.outcome, e.resource, e.metadata
FROM events e JOIN workspace w ON w.id = e.workspace_id AND w.kind = 'AUDIT'
WHERE e.trace_id = ANY($1::uuid[])
"""
_REJECTED = "SELECT count(*) FROM rejected r JOIN workspace w ON w.id = r.workspace_id AND w.kind = 'AUDIT'"
_KEYS = "SELECT id FROM api_key WHERE company_id = ANY($1::uuid[]) AND starts_with(name, $2)"


class Entry(NamedTuple):
    """What the audit tells of a call. ``key_id`` is the key that was made."""

    outcome: str
    key_id: str | None


async def workspaces(cluster: Cluster, region: Region, of: Sequence[Manager]) -> list[str]:
    """Where the region's companies among them are audited."""
    async with superuser(cluster, region) as connection:
        rows = await connection.fetch(_AUDIT_WORKSPACES, [each.company_id for each in of if each.region is region])
    return [str(row["id"]) for row in rows]


async def check(cluster: Cluster, who: Sequence[Manager], calls: Sequence[Call], verdict: Verdict) -> None:
    """Check the calls of a run that is drained."""
    for region in {each.region for each in who}:
        own = [call for call in calls if call.region is region]
        async with superuser(cluster, region) as connection:
            rows = await connection.fetch(_ENTRIES, [UUID(call.trace_id) for call in own])
            rejected = await connection.fetchval(_REJECTED)
            keys = await connection.fetch(_KEYS, [each.company_id for each in who if each.region is region], MADE)
        if rejected:  # a repeat of the relay's is no event of its own
            verdict.blame(f"{region}: {rejected} audit entries were rejected")
        entries: dict[str, list[Entry]] = defaultdict(list)
        for row in rows:
            entries[row["trace_id"].hex].append(_entry(row["outcome"], _value(row["resource"]), _value(row["metadata"])))
        check_calls(own, entries, verdict)
        check_keys([str(row["id"]) for row in keys], entries, verdict)


def check_calls(calls: Sequence[Call], entries: Mapping[str, Sequence[Entry]], verdict: Verdict) -> None:
    """Carried out or refused: one entry that says so. Unknown: at most one."""
    for call in calls:
        told = [each.outcome for each in entries.get(call.trace_id, ())]
        name = f"management call answered {call.answer}, trace {call.trace_id}"
        verdict.counts[f"management calls answered {call.answer}"] += 1
        verdict.counts["audit entries"] += len(told)
        if call.answer in _REFUSALS | {"201"}:
            expected = ["SUCCESS" if call.answer == "201" else "DENIED"]
            if told != expected:
                verdict.blame(f"{name}: the audit tells {told} instead of {expected}")
        elif len(told) > 1:
            verdict.blame(f"{name}: the audit tells {told}")
        elif call.answer.isdigit() and call.answer != "503":
            verdict.blame(f"{name}: no fault explains this answer")


def check_keys(keys: Sequence[str], entries: Mapping[str, Sequence[Entry]], verdict: Verdict) -> None:
    """Action and entry are one: each key that was made is in one entry, and each entry's key was made."""
    told = Counter(str(each.key_id) for found in entries.values() for each in found if each.outcome == "SUCCESS")
    made = Counter(keys)
    if told != made:
        verdict.blame(f"keys and audit differ: no entry for {sorted(made - told)}, no key for {sorted(told - made)}")


def _entry(outcome: str, resource: Any, metadata: Any) -> Entry:
    return Entry(outcome, metadata.get("newKeyId") or (resource or {}).get("id"))


def _value(group: bytes | None) -> Any:
    return None if group is None else orjson.loads(group[SALT_BYTES:])
