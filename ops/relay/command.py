"""``hyrelog relay``: carry audit entries of all served regions until SIGTERM."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import typer
from prometheus_client import CollectorRegistry

from ops import health, log
from ops.clock import SystemClock
from ops.faults import FaultPoints
from ops.local.environment import Role, ambient_environ, settings_of
from ops.metrics import Metrics
from ops.relay.region import RegionRelay
from ops.serve import serving, stop_on_signal
from ops.settings import Settings

_GRACE_SECONDS = 15.0


def register(app: typer.Typer) -> None:
    """Add the command ``relay``."""
    app.command("relay")(relay)


def relay() -> None:
    """Send audit entries from the outboxes into the pipeline until SIGTERM; any number of these may run."""
    settings = settings_of(Settings, ambient_environ(Role.RELAY))
    log.configure(settings.log_level, "relay")
    asyncio.run(run(settings))


async def run(settings: Settings) -> None:
    """Work every region's outbox, and answer for health and metrics. What a sudden end leaves behind is sent again."""
    stop = asyncio.Event()
    stop_on_signal(stop, grace=_GRACE_SECONDS)
    metrics, clock, faults = Metrics(CollectorRegistry()), SystemClock(), FaultPoints(settings.fault_points)
    regions = [RegionRelay(settings, region, metrics=metrics, clock=clock, faults=faults) for region in settings.regions]
    checks: dict[str, health.Check] = {f"relay {each.region}": each.check for each in regions}
    app = health.create_app(settings, health.Health("hyrelog-relay", checks, clock), metrics)
    async with AsyncExitStack() as exits:
        for each in regions:
            await exits.enter_async_context(each)
        await exits.enter_async_context(serving(app, host=settings.http_host, port=settings.relay_http_port))
        await stop.wait()
