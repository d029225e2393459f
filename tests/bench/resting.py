"""The sinks at rest and at work: the figures of the write path are taken without them."""

from __future__ import annotations

import asyncio

import asyncpg

from ops.local.environment import Role
from schemas.topics import events_topic
from tests.bench.bench import Bench
from tests.bench.pipeline import DRAIN_SECONDS, REGION

SEARCH, WEBHOOKS = "search", "webhooks"
_POLL_SECONDS = 0.05
_PLACED = {
    SEARCH: "SELECT count(*) FROM search_position WHERE topic = $1 AND refill_from IS NULL",
    WEBHOOKS: "SELECT count(*) FROM webhook_position WHERE topic = $1 AND refill_from IS NULL",
}

SINKS = (*_PLACED, "archive")


async def at_rest(bench: Bench) -> None:
    """Stop all sinks; those of events once they have their place in every partition, to go on from there and not from Postgres."""
    for sink in SINKS:
        await rest(bench, sink)


async def rest(bench: Bench, sink: str) -> None:
    """Stop one, if it runs."""
    if bench.stack.parts.pid(sink) is None:
        return
    if sink in _PLACED:
        await _placed(bench, sink)
    await asyncio.to_thread(bench.stack.parts.stop, sink)


async def _placed(bench: Bench, sink: str) -> None:
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while await connection.fetchval(_PLACED[sink], events_topic(REGION)) < bench.stack.settings(Role.SEARCH).topic_partitions:
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        await connection.close()


async def wake(bench: Bench, sink: str) -> None:
    """Start one, if it rests."""
    if bench.stack.parts.pid(sink) is None:
        await asyncio.to_thread(bench.stack.parts.start, sink)
