"""Compares what clients were told with what is stored, linked and announced. The whole history, every byte."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from ops import kafka
from ops.local.environment import Role
from ops.rows import to_stored
from schemas.audit import CATEGORY
from schemas.chain import START, Head, advance, verify, verify_head
from schemas.codec import encode_stored
from schemas.event import StoredEvent
from schemas.topics import Region, events_topic
from tests.faults import hooks, keyed, search
from tests.faults.ledger import Ledger, Outcome, Request
from tests.faults.standing import DRAIN_SECONDS, Starts, drained, superuser, topic_ends

if TYPE_CHECKING:
    from ops.kafka import ConsumerRecord
    from tests.faults.cluster import Cluster
    from tests.faults.hooks import Hook

_MAX_NAMED = 20

_EVENTS = """
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at,
       source_partition
FROM events WHERE workspace_id = ANY($1::uuid[]) ORDER BY workspace_id, seq
"""
_HEADS = "SELECT workspace_id, seq, hash FROM chain_head WHERE workspace_id = ANY($1::uuid[])"
_ALIASES = "SELECT id, event_id FROM event_alias WHERE workspace_id = ANY($1::uuid[])"
_REJECTED = "SELECT id, reason FROM rejected WHERE workspace_id = ANY($1::uuid[])"


@dataclass(slots=True)
class Verdict:
    """What was found. The run is good when there are no violations."""

    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def blame(self, violation: str) -> None:
        """Note a broken promise; after the first ones they are only counted."""
        self.counts["violations"] += 1
        if len(self.violations) < _MAX_NAMED:
            self.violations.append(violation)

    def add(self, other: Verdict) -> None:
        """Take over what another check found."""
        self.violations += other.violations
        self.counts += other.counts

    def assert_good(self) -> None:
        """Raises ``AssertionError`` with the violations."""
        if self.violations:
            raise AssertionError(f"{self.counts['violations']} violations:\n" + "\n".join(self.violations))


@dataclass(slots=True)
class Stored:
    """What a region's Postgres holds of the run's workspaces."""

    events: list[StoredEvent]
    """By workspace and seq."""
    partitions: dict[str, int]
    heads: dict[str, Head]
    rejected: dict[str, str]
    """Reasons by event id."""
    aliases: dict[str, str] = field(default_factory=dict)
    """The ids of the events that others repeat, by theirs."""


async def check(
    cluster: Cluster,
    ledger: Ledger,
    regions: Mapping[Region, Sequence[str]],
    begin: Starts,
    endpoints: Mapping[Region, Sequence[Hook]] = MappingProxyType({}),
) -> Verdict:
    """Check a run whose load has ended and whose faults are healed. ``regions`` holds the run's workspaces."""
    verdict = Verdict()
    took, missing = await drained(cluster, regions)
    verdict.counts["drain ms"] = int(took * 1000)
    for each in missing:
        verdict.blame(f"not drained {DRAIN_SECONDS:.0f} s after the last fault: {each}")
    everything: list[Stored] = []
    for region, workspaces in regions.items():
        stored = await _read(cluster, region, workspaces)
        everything.append(stored)
        check_chains(stored, workspaces, verdict)
        await search.check(cluster, region, stored, verdict)
        await hooks.check(cluster, region, endpoints.get(region, ()), stored, verdict)
        check_topic(region, await _read_topic(cluster, region, begin, workspaces), stored, verdict)
    check_promises(ledger, everything, verdict)
    return verdict


async def _read(cluster: Cluster, region: Region, workspaces: Sequence[str]) -> Stored:
    async with superuser(cluster, region) as connection:
        rows = await connection.fetch(_EVENTS, workspaces)
        heads = await connection.fetch(_HEADS, workspaces)
        rejected = await connection.fetch(_REJECTED, workspaces)
        aliases = await connection.fetch(_ALIASES, workspaces)
    return Stored(
        [to_stored(row, region) for row in rows],
        {str(row["workspace_id"]): row["source_partition"] for row in rows},
        {str(row["workspace_id"]): Head(row["seq"], row["hash"]) for row in heads},
        {str(row["id"]): row["reason"] for row in rejected},
        {str(row["id"]): str(row["event_id"]) for row in aliases},
    )


def check_chains(stored: Stored, workspaces: Sequence[str], verdict: Verdict) -> None:
    """Every workspace: seq 1, 2, 3 …, every commitment, link and hash computed again, and the head at the end."""
    reached = dict.fromkeys(workspaces, START)
    for event in stored.events:
        if finding := verify(reached[event.workspace_id], event):
            verdict.blame(f"chain broken: {finding}")
        reached[event.workspace_id] = advance(event)
    for workspace, end in reached.items():
        if finding := verify_head(workspace, end, stored.heads.get(workspace, START)):
            verdict.blame(f"head wrong: {finding}")


Message = tuple[bytes, bytes]
"""Key and value of a record."""


def check_topic(region: Region, topic: Mapping[int, Sequence[Message]], stored: Stored, verdict: Verdict) -> None:
    """What the events topic tells a reader who drops repeats is what Postgres holds, in the order of the source.

    ``topic`` holds the records of each partition as they lie there. What repeats must repeat every byte.
    """
    wanted: dict[int, list[Message]] = defaultdict(list)
    for event in sorted(stored.events, key=lambda each: (each.source_offset, each.source_index)):
        wanted[stored.partitions[event.workspace_id]].append((event.workspace_id.encode(), encode_stored(event)))
    for partition in wanted.keys() | topic.keys():
        records = topic.get(partition, ())
        told = list(dict.fromkeys(records))
        verdict.counts["records on the topic"] += len(records)
        verdict.counts["repeats on the topic"] += len(records) - len(told)
        if told != wanted[partition]:
            verdict.blame(_difference(region, partition, told, wanted[partition]))


def _difference(region: Region, partition: int, told: list[Message], expected: list[Message]) -> str:
    at = next((i for i, pair in enumerate(zip(told, expected, strict=False)) if pair[0] != pair[1]), min(len(told), len(expected)))
    missing, extra = len(set(expected) - set(told)), len(set(told) - set(expected))
    return (
        f"{region} partition {partition}: the topic differs from Postgres at event {at} of {len(expected)}: "
        f"{missing} missing, {extra} that are not stored, {len(told)} told"
    )


async def _read_topic(cluster: Cluster, region: Region, begin: Starts, workspaces: Sequence[str]) -> dict[int, list[Message]]:
    """The run's part of the events topic, by partition."""
    own = {workspace.encode() for workspace in workspaces}
    found: dict[int, list[Message]] = defaultdict(list)
    async for record in _records(cluster, region, begin):
        if record.key in own:
            found[record.partition].append((record.key, record.value))
    return found


async def _records(cluster: Cluster, region: Region, begin: Starts) -> AsyncIterator[ConsumerRecord]:
    """The events topic from where the run began to where it ends now."""
    topic = events_topic(region)
    ends = await topic_ends(cluster, region, topic)
    reader = kafka.consumer(cluster.settings(Role.STREAMS), region)
    await reader.start()
    await asyncio.sleep(0)  # aiokafka's stop() raises CancelledError when its tasks were never given a turn
    try:
        for partition, end in ends.items():
            place = kafka.TopicPartition(topic, partition)
            reader.assign([place])
            reader.seek(place, begin.get((region, partition), 0))
            while await reader.position(place) < end:
                for record in (await reader.getmany(place, timeout_ms=1000)).get(place, ()):
                    yield record
    finally:
        await reader.stop()


def check_promises(ledger: Ledger, everything: Sequence[Stored], verdict: Verdict) -> None:
    """Accepted: stored once or rejected. Unknown: at most once, a batch whole or not at all. Refused: never."""
    found: dict[str, list[str]] = defaultdict(list)
    rejected: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for stored in everything:
        rejected |= stored.rejected
        aliases |= stored.aliases
        for event in stored.events:
            if event.category != CATEGORY:  # audit.py judges audit entries
                found[_marker(event)].append(event.id)
    known = set[str]()
    for request in ledger.requests:
        known.update(request.markers)
        if request.keys:
            continue
        _check_request(request, [found.get(marker, []) for marker in request.markers], rejected, verdict)
    keyed.check((request for request in ledger.requests if request.keys), found, rejected, aliases, verdict)
    for marker in found.keys() - known:
        verdict.blame(f"stored and never sent: marker {marker}")
    verdict.counts["events stored"] += sum(map(len, found.values()))
    verdict.counts["events rejected"] += len(rejected)
    for outcome, count in ledger.events().items():
        verdict.counts[f"events {outcome}"] += count


def _check_request(request: Request, stored: list[list[str]], rejected: Mapping[str, str], verdict: Verdict) -> None:
    name = f"{request.outcome} ({request.answer}) {request.markers[0]}"
    if request.outcome is Outcome.ACCEPTED:
        for marker, told, ids in zip(request.markers, request.ids, stored, strict=True):
            if ids != [told] and not (ids == [] and told in rejected):
                verdict.blame(f"accepted event {marker} has id {told}, stored are {ids}")
        return
    counts = [len(ids) for ids in stored]
    if request.outcome is Outcome.REFUSED:
        if any(counts):
            verdict.blame(f"{name} is stored")
    elif max(counts) > 1 or min(counts) != max(counts):
        verdict.blame(f"{name} is stored {counts} times")
    elif max(counts):
        verdict.counts["events unknown and stored"] += len(counts)
    if request.answer not in ("400", "503") and request.answer.isdigit():
        verdict.blame(f"{name}: no fault explains this answer")


def _marker(event: StoredEvent) -> str:
    if event.metadata is None or event.metadata.value is None:
        return f"none: {event.id}"
    marker: str = orjson.loads(event.metadata.value).get("marker", f"none: {event.id}")
    return marker
