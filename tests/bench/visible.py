"""From accepted to visible, at a fixed rate: when an event can be read from the events topic, and from Postgres.

The topic's time is when a plain consumer has the record in hand. Postgres's is when a poll every 10 ms first
sees the event's chain head: row and head commit together, so a query that begins then finds the event.
"""

from __future__ import annotations

import asyncio
import io
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg
import fastavro

from ops import kafka
from ops.kafka import TopicPartition
from ops.local.environment import Role
from schemas.codec import AUDIT_EVENT, HEADER_BYTES
from schemas.topics import events_topic
from tests.bench.bench import Bench
from tests.bench.load import CONNECTIONS, Answer, Poster
from tests.bench.meter import Cost
from tests.bench.pipeline import REGION
from tests.bench.posts import Lost
from tests.bench.stats import Percentiles, percentiles
from tests.bench.workload import request_files

_POLL_SECONDS = 0.01
_PARSED = fastavro.parse_schema(AUDIT_EVENT)
_HEADS = "SELECT workspace_id::text, seq FROM chain_head"


@dataclass(frozen=True, slots=True)
class Visible:
    """Seconds at ``rate`` requests a second. ``answered`` is from when a request was due to its 202, the others from the 202 on."""

    rate: float
    events: int
    answered: Percentiles
    on_topic: Percentiles
    in_postgres: Percentiles
    from_due: Percentiles
    """From when the request was due until the event was visible in both."""
    cost: Cost


class Announced(NamedTuple):
    """A record of the events topic."""

    id: str
    workspace_id: str
    seq: int
    at: float


class Sightings:
    """What the two observers saw. Times are the monotonic clock's, in seconds."""

    def __init__(self) -> None:
        self.records: list[tuple[float, bytes]] = []
        self.heads: dict[str, list[tuple[int, float]]] = {}

    def announced(self) -> Iterable[Announced]:
        """The records, decoded."""
        for at, value in self.records:
            event: Any = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), _PARSED, None)
            yield Announced(event["id"], event["workspaceId"], event["seq"], at)

    def note_heads(self, at: float, heads: Iterable[tuple[str, int]]) -> None:
        """Keep the heads that have moved."""
        for workspace, seq in heads:
            seen = self.heads.setdefault(workspace, [])
            if not seen or seen[-1][0] < seq:
                seen.append((seq, at))

    def persisted_at(self, workspace_id: str, seq: int) -> float:
        """When the event's head, or a later one, was first seen."""
        seen = self.heads[workspace_id]
        return seen[bisect_left(seen, (seq, 0.0))][1]


async def visible(bench: Bench, rate: float) -> Visible:
    """Post at that rate. Raises ``LoadError``, ``NotDrained`` and ``Lost``."""
    sightings = Sightings()
    seconds = bench.plan.visible_seconds
    with request_files(bench.tenant, 1) as requests:
        await bench.pipeline.drained()
        spent = bench.meter.read()
        async with _observing(bench, sightings):
            child, answers = await asyncio.to_thread(Poster().post, bench.port, requests, seconds, CONNECTIONS, rate)
            await bench.pipeline.drained()
            cost = bench.meter.read().since(spent).with_process("poster", child.cpu_seconds)
    return _figure(rate, answers, {event.id: event for event in sightings.announced()}, sightings, cost)


def _figure(rate: float, answers: Sequence[Answer], announced: Mapping[str, Announced], sightings: Sightings, cost: Cost) -> Visible:
    if missing := sum(answer.id not in announced for answer in answers):
        raise Lost(f"{missing} of {len(answers)} accepted events were not announced")
    topic = [(answer, announced[answer.id].at) for answer in answers]
    events = [announced[answer.id] for answer in answers]
    postgres = [(answer, sightings.persisted_at(event.workspace_id, event.seq)) for answer, event in zip(answers, events, strict=True)]
    both = [max(seen, other) - answer.due for (answer, seen), (_, other) in zip(topic, postgres, strict=True)]
    return Visible(
        rate,
        len(answers),
        answered=percentiles([answer.answered - answer.due for answer in answers]),
        on_topic=percentiles([seen - answer.answered for answer, seen in topic]),
        in_postgres=percentiles([seen - answer.answered for answer, seen in postgres]),
        from_due=percentiles(both),
        cost=cost,
    )


@asynccontextmanager
async def _observing(bench: Bench, sightings: Sightings) -> AsyncIterator[None]:
    """Observe until the block ends and everything that was announced by then has been seen."""
    settings = bench.stack.settings(Role.AUDITOR)
    consumer = kafka.consumer(settings, REGION)
    await consumer.start()
    try:
        partitions = [TopicPartition(events_topic(REGION), number) for number in range(settings.topic_partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        begun = (await bench.pipeline.counts()).announced
        async with asyncio.TaskGroup() as group:
            observers = [
                group.create_task(_watch_topic(consumer, sightings)),
                group.create_task(watch_heads(settings.database_url(REGION), sightings)),
            ]
            yield
            ended = await bench.pipeline.drained()
            async with asyncio.timeout(10):
                while len(sightings.records) < ended.announced - begun:
                    await asyncio.sleep(_POLL_SECONDS)
            for observer in observers:
                observer.cancel()
    finally:
        await consumer.stop()


async def _watch_topic(consumer: Any, sightings: Sightings) -> None:
    while True:
        batches = await consumer.getmany(timeout_ms=1000)
        at = time.monotonic()
        sightings.records.extend((at, record.value) for records in batches.values() for record in records)


async def watch_heads(url: str, sightings: Sightings) -> None:
    """Look at the heads every 10 ms, until cancelled."""
    connection = await asyncpg.connect(url)
    try:
        while True:
            heads = await connection.fetch(_HEADS)
            sightings.note_heads(time.monotonic(), ((head["workspace_id"], head["seq"]) for head in heads))
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await connection.close()
