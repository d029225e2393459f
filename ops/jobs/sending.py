"""``archival``: puts parts that are marked and not archived on the archive topic, where the sink finds them."""

from __future__ import annotations

import asyncio
import contextlib

from ops import kafka
from ops.db import Row, load_queries
from ops.jobs.work import Work
from ops.kafka import partition_of
from ops.publish import Publisher, Record
from schemas.archive import ArchiveRange, ArchiveWork, encode_work
from schemas.topics import archive_topic

_PAGE_PARTS = 100
_UNACKED_BYTES = 64 << 20
_AGAIN_MICROS = 3_600_000_000
"""What was sent so long ago and is still not archived may have been lost to the topic's retention."""
_CONNECT_SECONDS = 10.0
_PATIENCE_SECONDS = 600.0
_POLL_SECONDS = 0.2


async def run(work: Work) -> dict[str, int]:
    """Send what waits; by hand, wait until the sink has archived it. Returns counts of parts."""
    sent = await send_waiting(work, work.clock.micros())
    if work.is_by_hand:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while await _waiting(work):
                    await work.beat()
                    await asyncio.sleep(_POLL_SECONDS)
    return {"sent": sent, "waiting": await _waiting(work)}


async def send_waiting(work: Work, now: int) -> int:
    """Send every part that is neither archived nor was sent lately; how many. Sent twice, they are archived once."""
    sql = load_queries("ops.jobs", "sending.sql")
    sent = 0
    publisher: Publisher | None = None
    try:
        while True:
            async with work.pool.acquire() as connection:
                parts = await connection.fetch(sql["to_send"], now - _AGAIN_MICROS, _PAGE_PARTS)
            if not parts:
                return sent
            publisher = publisher or await _publisher(work)
            for part in parts:
                await _send(publisher, work, part)
            work.faults.hit("archival_sent")
            async with work.pool.acquire() as connection:
                await connection.execute(sql["note_sent"], [part[0] for part in parts], now)
            sent += len(parts)
            await work.beat()
    finally:
        if publisher is not None:
            await publisher.stop(grace=0)


async def _publisher(work: Work) -> Publisher:
    publisher = Publisher(
        lambda: kafka.producer(work.settings, work.region),
        max_unacked_bytes=_UNACKED_BYTES,
        ack_timeout=work.settings.ingest_ack_timeout_seconds,
    )
    await publisher.start()
    async with asyncio.timeout(_CONNECT_SECONDS):
        while not publisher.connected:
            await asyncio.sleep(_POLL_SECONDS)
    return publisher


async def _send(publisher: Publisher, work: Work, part: Row) -> None:
    async with work.pool.acquire() as connection:
        ranges = await connection.fetch(load_queries("ops.jobs", "sending.sql")["ranges"], part[0])
    runs = tuple(ArchiveRange(str(row[0]), row[1], row[2]) for row in ranges)
    record = encode_work(ArchiveWork(str(part[0]), str(part[1]), part[2], part[3], runs))
    key = runs[0].workspace_id  # as on every topic
    partition = partition_of(key, work.settings.topic_partitions)
    await publisher.publish(archive_topic(work.region), partition, [Record(key.encode(), record, [])])


async def _waiting(work: Work) -> int:
    async with work.pool.acquire() as connection:
        found: int = await connection.fetchval(load_queries("ops.jobs", "sending.sql")["waiting"])
    return found
