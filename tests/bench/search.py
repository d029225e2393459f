"""The search sink: how fast it works off a backlog, how far it is behind at half load, and what it takes from the write path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from ops.progress import Progress
from schemas.topics import events_topic
from tests.bench.backlog import feed
from tests.bench.bench import Bench
from tests.bench.load import CONNECTIONS, Poster
from tests.bench.meter import Cost
from tests.bench.pipeline import DRAIN_SECONDS, REGION, NotDrained
from tests.bench.posts import Posting, post
from tests.bench.resting import SEARCH, wake
from tests.bench.stats import Percentiles, middle, percentiles
from tests.bench.workload import request_files

_PER_ENVELOPE = 100
_SLOWEST = 2_000
"""Events a second below which a backlog is given up."""
_POLL_SECONDS = 0.05
_TAKEN = "SELECT coalesce(sum(next_offset), 0)::bigint FROM search_position WHERE topic = $1"
_ROWS = "SELECT count(*) FROM search"


@dataclass(frozen=True, slots=True)
class Indexing:
    """Events a second between 10 % and 90 % of a backlog; ``stored`` rows were there before. ``cost`` is that of ``events``."""

    stored: int
    backlog: int
    rate: float
    events: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds from when a record is seen on the topic until it is in the search table, at ``rate`` requests a second."""

    rate: float
    seconds: Percentiles


class Sample(NamedTuple):
    """How many events were taken so far, when, and what was spent."""

    at: float
    taken: int
    cost: Cost


async def at_work(bench: Bench) -> None:
    """Start the sink, and wait until it has caught up."""
    async with _looking(bench) as connection:
        await caught_up(bench, connection)


async def indexing(bench: Bench, backlog: int) -> Indexing:
    """Let ``backlog`` events be announced without the sink, and look how it works them off. Raises ``NotDrained``."""
    async with _looking(bench) as connection:
        await caught_up(bench, connection)
        stored: int = await connection.fetchval(_ROWS)
        await asyncio.to_thread(bench.stack.parts.stop, SEARCH)
        bench.say(f"  feeding {backlog:,} events")
        await feed(bench, backlog, _PER_ENVELOPE)
        await bench.pipeline.drained()
        await wake(bench, SEARCH)
        samples = await _samples(bench, connection)
    bench.meter.note_memory()
    inner = samples[middle([sample.taken for sample in samples])]
    first, last = inner[0], inner[-1]
    events = last.taken - first.taken
    return Indexing(stored, backlog, events / (last.at - first.at), events, last.cost.since(first.cost))


async def lag(bench: Bench, rate: float) -> Lag:
    """Post at that rate and look, again and again, how old the oldest event is that was not taken yet."""
    progress, seen = Progress(), list[float]()
    async with _looking(bench) as connection:
        await caught_up(bench, connection)

        async def look() -> None:
            while True:
                announced = (await bench.pipeline.counts()).announced
                seen.append(progress.lag(announced, await _taken(connection), time.monotonic()))
                await asyncio.sleep(_POLL_SECONDS)

        with request_files(bench.tenant, 1) as requests:
            looking = asyncio.create_task(look())
            try:
                await asyncio.to_thread(Poster().post, bench.port, requests, bench.plan.visible_seconds, CONNECTIONS, rate)
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
        await caught_up(bench, connection)
    return Lag(rate, percentiles(seen))


async def post_beside(bench: Bench) -> tuple[Posting, Posting]:
    """Single posts as fast as they go: with the sink at rest, and with it at work."""
    await asyncio.to_thread(bench.stack.parts.stop, SEARCH)
    alone = await post(bench, 1)
    await wake(bench, SEARCH)
    async with _looking(bench) as connection:
        await caught_up(bench, connection)
    return alone, await post(bench, 1)


async def caught_up(bench: Bench, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Wait until all that was announced is taken. Raises ``NotDrained``."""
    await wake(bench, SEARCH)
    await _samples(bench, connection)


async def _samples(bench: Bench, connection: asyncpg.Connection[asyncpg.Record]) -> list[Sample]:
    goal = (await bench.pipeline.drained()).announced
    deadline = time.monotonic() + DRAIN_SECONDS + (goal - await _taken(connection)) / _SLOWEST
    samples: list[Sample] = []
    while not samples or samples[-1].taken < goal:
        if time.monotonic() > deadline:
            raise NotDrained(f"the search sink has not taken {goal:,} events in time")
        samples.append(Sample(time.monotonic(), await _taken(connection), bench.meter.read()))
        await asyncio.sleep(_POLL_SECONDS)
    return samples


async def _taken(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    taken: int = await connection.fetchval(_TAKEN, events_topic(REGION))
    return taken


@asynccontextmanager
async def _looking(bench: Bench) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        yield connection
    finally:
        await connection.close()
