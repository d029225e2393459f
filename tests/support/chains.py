"""Chains made without the pipeline: events as the worker would store them, straight into a database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import orjson

from schemas.chain import START, Head, advance
from schemas.event import SALT_BYTES, Group, StoredEvent
from schemas.leaf import commitment, leaf_hash, leaf_of
from schemas.topics import Region

BASE_TIME = 1_767_225_600_000_000  # 2026-01-01 UTC
SECOND = 1_000_000
COLUMNS = [
    "seq",
    "source_offset",
    "occurred_at",
    "received_at",
    "id",
    "company_id",
    "workspace_id",
    "project_id",
    "trace_id",
    "source_partition",
    "source_index",
    "archive_day",
    "prev_hash",
    "hash",
    "commitments",
    "category",
    "action",
    "outcome",
    "tenant_id",
    "actor",
    "resource",
    "context",
    "metadata",
    "actor_id",
    "actor_email",
    "resource_type",
    "resource_id",
    "erased_at",
]


def group(value: bytes) -> Group:
    """A group of that canonical JSON, under a salt of its own."""
    sealed = os.urandom(SALT_BYTES) + value
    return Group(commitment(sealed), sealed)


@dataclass(slots=True)
class Chain:
    """A workspace's chain that grows in memory."""

    company_id: str
    workspace_id: str
    region: Region = Region.US
    partition: int = 0
    head: Head = START
    first_offset: int = field(default_factory=lambda: uuid4().int >> 70)

    def event(
        self,
        *,
        at: int | None = None,
        category: str = "user",
        action: str = "user.login",
        actor: bytes | None = b'{"email":"ada@test","id":"u-1"}',
        resource: bytes | None = b'{"id":"r-1","type":"door"}',
        context: bytes | None = None,
        metadata: bytes | None = b'{"n":1.5}',
        tenant_id: str | None = None,
        project_id: str | None = None,
        outcome: str | None = "SUCCESS",
        received_at: int | None = None,
        trace_id: str | None = None,
        id: str | None = None,
    ) -> StoredEvent:
        """The next event. ``at`` is its timestamp, by default a second after the one before."""
        seq = self.head.seq + 1
        event = StoredEvent(
            seq=seq,
            prev_hash=self.head.hash,
            hash=b"",
            source_offset=self.first_offset + seq,
            source_index=0,
            id=id or str(uuid4()),
            company_id=self.company_id,
            workspace_id=self.workspace_id,
            project_id=project_id,
            tenant_id=tenant_id,
            data_region=self.region.value,
            timestamp=BASE_TIME + seq * SECOND if at is None else at,
            received_at=BASE_TIME + seq * SECOND + 7 if received_at is None else received_at,
            category=category,
            action=action,
            outcome=outcome,
            trace_id=trace_id or uuid4().hex,
            actor=None if actor is None else group(actor),
            resource=None if resource is None else group(resource),
            context=None if context is None else group(context),
            metadata=None if metadata is None else group(metadata),
        )
        event = replace(event, hash=leaf_hash(leaf_of(event)))
        self.head = advance(event)
        return event

    def events(self, count: int) -> list[StoredEvent]:
        """The next ``count`` events."""
        return [self.event() for _ in range(count)]


async def store(connection: asyncpg.Connection[asyncpg.Record], chain: Chain, events: Sequence[StoredEvent]) -> None:
    """Insert the events and the chain's head. The connection reads times as microseconds (``db.use_micros``)."""
    await connection.copy_records_to_table("events", records=rows(chain, events), columns=COLUMNS)
    await connection.execute(
        "INSERT INTO chain_head (workspace_id, company_id, seq, hash, archive_day, updated_at) "
        "VALUES ($1, $2, $3, $4, '2026-01-01', now()) "
        "ON CONFLICT (workspace_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        chain.workspace_id,
        chain.company_id,
        chain.head.seq,
        chain.head.hash,
    )


def rows(chain: Chain, events: Iterable[StoredEvent]) -> list[tuple[object, ...]]:
    """The events as records of the table."""
    return [_row(chain, event) for event in events]


def _row(chain: Chain, event: StoredEvent) -> tuple[object, ...]:
    groups = (event.actor, event.resource, event.context, event.metadata)
    commitments = b"".join(bytes(32) if each is None else each.commitment for each in groups)
    place = (event.seq, event.source_offset, event.timestamp, event.received_at)
    ids = (event.id, event.company_id, event.workspace_id, event.project_id, UUID(event.trace_id))
    link = (chain.partition, event.source_index, _day(event.received_at), event.prev_hash, event.hash, commitments)
    words = (event.category, event.action, event.outcome, event.tenant_id)
    sealed = (None if each is None else each.sealed for each in groups)
    return (*place, *ids, *link, *words, *sealed, *_extracted(event), event.erased_at)


def _day(micros: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).date()


def _extracted(event: StoredEvent) -> tuple[str | None, str | None, str | None, str | None]:
    actor = orjson.loads(event.actor.value) if event.actor and event.actor.value else {}
    resource = orjson.loads(event.resource.value) if event.resource and event.resource.value else {}
    return actor.get("id"), actor.get("email"), resource.get("type"), resource.get("id")
