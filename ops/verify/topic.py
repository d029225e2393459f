"""Walking the events topic as any consumer may: the reader's rule of contract §6, every link, and Postgres to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from fastavro import parse_schema, schemaless_reader

from ops import db
from ops.kafka import ConsumerRecord, LogView, partition_of, read_topic
from ops.settings import Settings
from ops.verify.report import Report
from schemas import codec
from schemas.chain import START, Finding, Head, advance, verify
from schemas.event import Group, StoredEvent, to_micros
from schemas.topics import Region, events_topic

_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)
_EVENT = parse_schema(codec.AUDIT_EVENT)


class Known(NamedTuple):
    """What Postgres says of a chain."""

    head: Head
    settled: bool = False
    """Moved so long ago that it must have been announced."""
    floor: Head = START
    """The last event that was purged: of it and of those before, the topic may tell what Postgres can't any more."""


Heads = dict[str, Known]
_NO_HEAD = Known(START)


@dataclass(slots=True)
class _Chain:
    """A workspace's chain as far as the topic told it."""

    reached: Head
    bad: bool = False


class _TopicAuditor:
    """Reads the topic once, in its order."""

    def __init__(self, region: Region, report: Report, heads: Heads, starts: dict[int, int]) -> None:
        """``heads`` are those from before the topic is read; ``starts`` the first offset each partition still holds."""
        self._region = region
        self._report = report
        self._heads = heads
        self._starts = starts
        self._chains: dict[str, _Chain] = {}

    def take(self, record: ConsumerRecord) -> None:
        """Check one record: its key, its partition, and the event as its workspace's next link."""
        try:
            event = decode(record.value)
        except ValueError as error:
            self._report.add(Finding(str(record.key), 0, "record", f"partition {record.partition} offset {record.offset}: {error}"))
            return
        chain = self._chain(event, record.partition)
        if chain.bad:
            return
        if event.seq <= chain.reached.seq:
            self._report.repeats += 1
            return
        finding = verify(chain.reached, event) or self._misplaced(record, event) or self._differs(event)
        chain.bad = finding is not None
        chain.reached = advance(event)
        self._report.events += finding is None
        self._report.add(finding)

    def finish(self, heads_after: Heads) -> None:
        """Look for what Postgres had before the topic was read and it lacks, and for what it has and Postgres lacks now."""
        for workspace, (head, settled, _) in self._heads.items():
            reached = self._chains[workspace].reached.seq if workspace in self._chains else 0
            trimmed = reached == 0 and self._starts[partition_of(workspace, len(self._starts))] > 0
            if settled and not trimmed and not self._is_bad(workspace) and reached < head.seq:
                self._report.add(Finding(workspace, reached + 1, "seq", f"the topic ends at {reached}, Postgres at {head.seq}"))
        for workspace, chain in self._chains.items():
            head = heads_after.get(workspace, _NO_HEAD).head
            if head.seq < chain.reached.seq and not chain.bad:
                message = f"Postgres ends at {head.seq}, the topic at {chain.reached.seq}"
                self._report.add(Finding(workspace, head.seq + 1, "seq", message))

    def _is_bad(self, workspace: str) -> bool:
        return workspace in self._chains and self._chains[workspace].bad

    def _chain(self, event: StoredEvent, partition: int) -> _Chain:
        chain = self._chains.get(event.workspace_id)
        if chain is None:
            # Retention may have taken the beginning; then the oldest record left vouches for what was before it.
            start = Head(event.seq - 1, event.prev_hash) if self._starts[partition] > 0 else START
            chain = self._chains[event.workspace_id] = _Chain(start)
            self._report.workspaces += 1
        return chain

    def _misplaced(self, record: ConsumerRecord, event: StoredEvent) -> Finding | None:
        if record.key != event.workspace_id.encode():
            return Finding(event.workspace_id, event.seq, "key", f"is {record.key!r}")
        if record.partition != partition_of(event.workspace_id, len(self._starts)):
            return Finding(event.workspace_id, event.seq, "partition", f"is {record.partition}")
        if event.data_region != self._region:
            return Finding(event.workspace_id, event.seq, "dataRegion", f"is {event.data_region}")
        return None

    def _differs(self, event: StoredEvent) -> Finding | None:
        head, _, floor = self._heads.get(event.workspace_id, _NO_HEAD)
        for name, place in (("head", head), ("floor", floor)):
            if event.seq == place.seq and event.hash != place.hash:
                return Finding(event.workspace_id, event.seq, "hash", f"is {event.hash.hex()}, Postgres' {name} is {place.hash.hex()}")
        return None


async def walk_topic(
    settings: Settings, region: Region, report: Report, begin: Callable[[int], Callable[[int], None]], workspace: UUID | None
) -> None:
    """Walk the region's events topic from its first record to where it ends now."""
    topic = events_topic(region)
    heads = await _heads(settings, region, workspace)
    auditor = _TopicAuditor(region, report, heads, await _starts(settings, region, topic))
    advance_bar = begin(sum(known.head.seq for known in heads.values()))
    wanted = None if workspace is None else str(workspace).encode()
    async for record in read_topic(settings, region, topic):
        if wanted in (None, record.key):
            auditor.take(record)
            advance_bar(1)
    auditor.finish(await _heads(settings, region, workspace))


def decode(value: bytes) -> StoredEvent:
    """The event of a public record, read by the schema alone. Raises ``ValueError``."""
    if not value.startswith(codec.EVENT_HEADER):
        raise ValueError("not a record of the schema of events")
    try:
        record: dict[str, Any] = schemaless_reader(BytesIO(value[codec.HEADER_BYTES :]), _EVENT)  # type: ignore[assignment]  # typed as anything Avro has
    except (EOFError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"cut or garbled: {error}") from None
    return StoredEvent(
        seq=record["seq"],
        prev_hash=record["prevHash"],
        hash=record["hash"],
        source_offset=record["sourceOffset"],
        source_index=record["sourceIndex"],
        id=record["id"],
        company_id=record["companyId"],
        workspace_id=record["workspaceId"],
        project_id=record["projectId"],
        tenant_id=record["tenantId"],
        data_region=record["dataRegion"],
        timestamp=to_micros(record["timestamp"]),
        received_at=to_micros(record["receivedAt"]),
        category=record["category"],
        action=record["action"],
        outcome=record["outcome"],
        trace_id=record["traceId"],
        v=record["v"],
        actor=_group(record["actor"]),
        resource=_group(record["resource"]),
        context=_group(record["context"]),
        metadata=_group(record["metadata"]),
    )


def _group(record: dict[str, Any] | None) -> Group | None:
    if record is None:
        return None
    erased = record["salt"] is None or record["value"] is None
    return Group(record["commitment"], None if erased else record["salt"] + record["value"].encode())


async def _heads(settings: Settings, region: Region, workspace: UUID | None) -> Heads:
    bounds = (_FIRST, _LAST) if workspace is None else (workspace, workspace)
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-verify", region=region, max_size=1)
    async with pool:
        rows = await pool.fetch(db.load_queries("ops.verify")["all_heads"], *bounds)
    return {str(row["workspace_id"]): _known(row) for row in rows}


def _known(row: db.Row) -> Known:
    floor = START if row["floor_seq"] is None else Head(row["floor_seq"], row["floor_hash"])
    return Known(Head(row["seq"], row["hash"]), row["settled"], floor)


async def _starts(settings: Settings, region: Region, topic: str) -> dict[int, int]:
    view = LogView(settings, region)
    await view.start()
    try:
        bounds = await view.bounds(topic, range((await view.topics())[topic].partitions))
    finally:
        await view.stop()
    return {partition: found.start for partition, found in bounds.items()}
