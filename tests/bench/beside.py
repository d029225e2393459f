"""Single posts while webhooks are delivered and tails are open, against the same posts alone."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

import aiohttp

from tests.bench.bench import Bench
from tests.bench.helper import helper
from tests.bench.posts import Posting, post
from tests.bench.resting import WEBHOOKS, rest, wake
from tests.bench.tails import listening
from tests.support.endpoints import create_endpoint, delete_endpoint

ENDPOINTS = 2
"""Of as many of the bench's 32 workspaces: each event that comes to them is delivered."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Beside:
    """Both postings, and what ran beside the second one: deliveries and events told to tails, a second."""

    alone: Posting
    beside: Posting
    tails: int
    delivered: float
    told: float

    @property
    def for_each_core(self) -> float:
        """Events for each core that was left to ingest, the worker and the servers, in terms of the same alone."""
        return (self.beside.announced / cores_left(self.beside)) / (self.alone.announced / cores_left(self.alone))


def cores_left(posting: Posting) -> float:
    """Of the machine's cores those that neither webhooks took nor what is not HyreLog, like the receiver and the tails' clients."""
    seconds = sum(window.load.seconds + window.lag_seconds for window in posting.windows)
    taken = posting.cost.elsewhere + posting.cost.cpu.get(WEBHOOKS, 0.0)
    return (os.cpu_count() or 1) - taken / seconds


async def post_beside_both(bench: Bench) -> Beside:
    """Post alone, then beside both. Raises what ``post`` raises, and ``Lost``."""
    alone = await post(bench, 1)
    keys = [workspace.key or "" for workspace in bench.tenant.workspaces]
    async with (
        helper("tests.bench.receiver", str(bench.receiver_port)) as receiver,
        listening(bench, keys, len(keys)) as listener,
        aiohttp.ClientSession(bench.stack.base_url) as session,
    ):
        url = f"http://127.0.0.1:{bench.receiver_port}/fast"
        endpoints = [await create_endpoint(session, bench.tenant, each.id, url) for each in bench.tenant.workspaces[:ENDPOINTS]]
        await wake(bench, WEBHOOKS)
        await asyncio.to_thread(bench.stack.parts.wait_ready, WEBHOOKS)
        began = time.monotonic()
        beside = await post(bench, 1)
        seconds = time.monotonic() - began
        told, delivered = (await listener.ask("counts"))["told"], (await receiver.ask("counts")).get("fast", 0)
        for endpoint in endpoints:
            await delete_endpoint(session, bench.tenant, endpoint)
        await rest(bench, WEBHOOKS)
    return Beside(alone, beside, len(keys), delivered / seconds, told / seconds)
