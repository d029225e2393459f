"""Records put on the ingest topic past ingest: what it would never let through."""

from __future__ import annotations

import asyncio
import os
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro
from aiokafka.admin import AIOKafkaAdminClient

from ops import kafka
from ops.local.environment import Role
from schemas import codec, ids
from schemas.codec import HEADER_BYTES, REJECTED_PARSED
from schemas.envelope import SALTS_BYTES, Receipt, envelope, seal
from schemas.incoming import IncomingEvent
from schemas.topics import Region, ingest_topic, rejected_topic
from tests.faults.ledger import Outcome, Request

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster
    from tests.faults.load import Account

_EMPTY: dict[str, Any] = dict.fromkeys(IncomingEvent.__dataclass_fields__)


def enveloped(account: Account, request: Request, **changes: dict[int, str]) -> bytes:
    """The request's events in one envelope, and in its ledger entry as accepted.

    ``action`` and ``id`` may be changed for events by their index in the batch.
    """
    now = time.time_ns() // 1000
    receipt = Receipt(account.company_id, account.workspace_id, account.region, now, os.urandom(16).hex(), None)
    tenancy = codec.tenancy(account.company_id, account.workspace_id)
    made, items = [], []
    for index, marker in enumerate(request.markers):
        made.append(changes.get("id", {}).get(index) or ids.uuid7(now, os.urandom(ids.RANDOM_BYTES)))
        event = IncomingEvent(**{**_EMPTY, "category": "user", "action": changes.get("action", {}).get(index, "user.login"), "size": 1})
        event.metadata = b'{"marker":"%b"}' % marker.encode()
        items.append(seal(event, receipt, id=made[-1], salts=os.urandom(SALTS_BYTES), tenancy=tenancy))
    request.outcome, request.ids, request.answer = Outcome.ACCEPTED, tuple(made), "202"
    return envelope(tenancy, items)


async def put(cluster: Cluster, account: Account, *values: bytes | None) -> None:
    """Write records to the partition of the account's workspace."""
    settings = cluster.settings(Role.INGEST)
    producer = kafka.producer(settings, account.region)
    await producer.start()
    partition = kafka.partition_of(account.workspace_id, settings.topic_partitions)
    try:
        for value in values:
            await producer.send_and_wait(ingest_topic(account.region), value, key=account.workspace_id.encode(), partition=partition)
    finally:
        await producer.stop()


async def rejected(cluster: Cluster, region: Region) -> list[dict[str, Any]]:
    """All records of the rejected topic, decoded, repeats dropped."""
    found = {}
    async for record in kafka.read_topic(cluster.settings(Role.STREAMS), region, rejected_topic(region)):
        value: Any = fastavro.schemaless_reader(BytesIO(record.value[HEADER_BYTES:]), REJECTED_PARSED, None)
        found[value["sourcePartition"], value["sourceOffset"], value["sourceIndex"]] = value
    return list(found.values())


async def make_anew(cluster: Cluster, region: Region) -> None:
    """Delete the region's ingest topic and make it again: empty, and with another id."""
    settings = cluster.settings(Role.OWNER)
    name = ingest_topic(region)
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([name])
    finally:
        await admin.close()
    async with asyncio.timeout(10):
        while name in await kafka.describe(settings, region):
            await asyncio.sleep(0.1)
    await kafka.ensure_topics(settings)
