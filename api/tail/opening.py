"""Building what tails need, from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from api.store import Store
from api.tail.catchup import Stored
from api.tail.hub import Hub
from api.tail.logs import Logs
from api.tail.position import Positions
from api.tail.tails import TailLimits, Tails
from api.tail.watch import KeyWatch
from ops.clock import Clock
from ops.db import Pool
from ops.kafka import TopicReader, partition_of
from ops.metrics import Metrics
from ops.settings import Settings
from ops.store import PostgresKeys
from schemas.topics import Region, events_topic


def open_tails(
    settings: Settings,
    store: Store,
    key_pools: Mapping[Region, Pool],
    *,
    stopping: asyncio.Event,
    clock: Clock,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Tails:
    """The tails of a process, until the stack is closed; they end once ``stopping`` is set. Nothing is read before one is opened."""
    positions = Positions(settings.secrets("cursor_secret"))
    logs = Logs(positions, settings.tail_queue_events, settings.tail_log_bytes)
    stored = Stored.of(store, partial(partition_of, partitions=settings.topic_partitions), max(1, settings.api_pool_size // 2))
    keys = PostgresKeys(key_pools)
    tails = Tails(
        stored,
        {region: _hub(settings, region, logs, clock, metrics) for region in settings.regions},
        {region: KeyWatch(region, keys, clock) for region in settings.regions},
        positions,
        TailLimits(settings.tails_per_key, settings.tail_clients, settings.tail_lifetime_seconds),
        clock=clock,
        metrics=metrics,
    )
    stack.push_async_callback(tails.close)
    for work in (tails.run(), tails.stop_when(stopping), *map(tails.watch, settings.regions)):
        _in_background(work, stack)
    return tails


def _hub(settings: Settings, region: Region, logs: Logs, clock: Clock, metrics: Metrics) -> Hub:
    reader = partial(TopicReader, settings, region, events_topic(region))
    return Hub(region, reader, logs, clock, metrics)


def _in_background(work: Coroutine[Any, Any, None], stack: AsyncExitStack) -> None:
    task = asyncio.get_running_loop().create_task(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)
