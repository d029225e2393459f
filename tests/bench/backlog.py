"""Envelopes straight onto the ingest topic, as ingest makes them: a backlog for the worker, or a table to fill."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from itertools import cycle
from uuid import UUID

import orjson

from ops import kafka
from ops.local.environment import Role
from ops.publish import Publisher, Record
from ops.seed import Tenant
from ops.settings import Settings
from schemas import codec, ids
from schemas.envelope import SALTS_BYTES, Receipt, envelope, seal
from schemas.incoming import IncomingEvent, read
from schemas.topics import ingest_topic
from tests.bench.bench import Bench
from tests.bench.pipeline import REGION
from tests.bench.workload import USER_AGENT, event

_MAX_UNACKED_BYTES = 256 << 20
_ACK_SECONDS = 30.0
_IN_FLIGHT = 500
_CONNECT_SECONDS = 10.0
_RANDOM_BYTES = SALTS_BYTES + ids.RANDOM_BYTES
_TRACE = "0af7651916cd43dd8448eb211c80319c"


async def feed(bench: Bench, events: int, per_envelope: int, tenant: Tenant | None = None) -> None:
    """Publish ``events`` events, ``per_envelope`` in each record, round all workspaces of the company, or of the bench's own."""
    settings = bench.stack.settings(Role.INGEST)
    publisher = Publisher(lambda: kafka.producer(settings, REGION), max_unacked_bytes=_MAX_UNACKED_BYTES, ack_timeout=_ACK_SECONDS)
    await publisher.start()
    try:
        await _connected(publisher)
        await _publish(publisher, settings, tenant or bench.tenant, events, per_envelope)
    finally:
        await publisher.stop()


async def _connected(publisher: Publisher) -> None:
    async with asyncio.timeout(_CONNECT_SECONDS):
        while not publisher.connected:
            await asyncio.sleep(0.02)


async def _publish(publisher: Publisher, settings: Settings, tenant: Tenant, events: int, per_envelope: int) -> None:
    pending: list[asyncio.Future[None]] = []
    workspaces = cycle(workspace.id for workspace in tenant.workspaces)
    for start in range(0, events, per_envelope):
        record = _record(tenant.id, next(workspaces), start, min(per_envelope, events - start))
        partition = kafka.partition_of(record.key.decode(), settings.topic_partitions)
        pending.append(publisher.submit(ingest_topic(REGION), partition, [record]))
        if len(pending) == _IN_FLIGHT:
            await asyncio.gather(*pending)
            pending.clear()
    await asyncio.gather(*pending)


def _record(company: UUID, workspace: UUID, start: int, count: int) -> Record:
    now = time.time_ns() // 1000
    context = orjson.dumps({"ipAddress": "127.0.0.1", "userAgent": USER_AGENT})
    receipt = Receipt(str(company), str(workspace), REGION, now, _TRACE, context)
    tenancy = codec.tenancy(receipt.company_id, receipt.workspace_id)
    items = list(_sealed(receipt, tenancy, start, count))
    return Record(receipt.workspace_id.encode(), envelope(tenancy, items), [])


def _sealed(receipt: Receipt, tenancy: bytes, start: int, count: int) -> Iterator[bytes]:
    for number in range(start, start + count):
        randomness = os.urandom(_RANDOM_BYTES)
        event_id = ids.uuid7(receipt.received_at, randomness[SALTS_BYTES:])
        yield seal(_incoming(number), receipt, id=event_id, salts=randomness[:SALTS_BYTES], tenancy=tenancy)


def _incoming(number: int) -> IncomingEvent:
    return read(event(number), time.time_ns() // 1000)
