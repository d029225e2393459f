"""The process of a sink: all served regions, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from ops import health, log, tracing
from ops.clock import SystemClock
from ops.collector import calm_collector
from ops.faults import FaultPoints
from ops.metrics import Metrics
from ops.serve import serving, stop_on_signal
from ops.settings import Settings
from schemas.topics import Region
from sinks.loop import Handle
from sinks.region import OpenStore, RegionSink
from sinks.store import Row

_GRACE_SECONDS = 10.0


def run(name: str, handle: Handle[Row], open_store: OpenStore[Row]) -> None:
    """Take events for the sink of that name until SIGTERM, which ends it within 10 s whatever is away."""
    settings = Settings()
    log.configure(settings.log_level, f"sink-{name}")
    os.nice(settings.sinks_niceness)
    calm_collector()
    metrics, clock, faults = Metrics(CollectorRegistry()), SystemClock(), FaultPoints(settings.fault_points)

    def of(region: Region) -> RegionSink[Row]:
        return RegionSink(name, handle, open_store, settings, region, metrics=metrics, clock=clock, faults=faults)

    asyncio.run(_serve(name, settings, of, metrics, clock))


async def _serve(name: str, settings: Settings, of: Callable[[Region], RegionSink[Row]], metrics: Metrics, clock: SystemClock) -> None:
    stop = asyncio.Event()
    stop_on_signal(stop, grace=_GRACE_SECONDS)  # stored positions make a sudden end free
    regions = [of(region) for region in settings.regions]
    checks: Mapping[str, health.Check] = {f"{name} {each.region}": each.check for each in regions}
    app = health.create_app(settings, health.Health(f"hyrelog-{name}", checks, clock), metrics)
    async with AsyncExitStack() as exits:
        tracer = await exits.enter_async_context(tracing.opened(settings, f"hyrelog-{name}"))
        for each in regions:
            each.tracer = tracer
            await exits.enter_async_context(each)
        await exits.enter_async_context(serving(app, host=settings.http_host, port=settings.sinks_http_port))
        await stop.wait()
