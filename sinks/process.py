"""The process of a sink: all served regions, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Generic, NamedTuple, Protocol, Self

import uvloop
from prometheus_client import CollectorRegistry

from ops import health, log, tracing
from ops.clock import Clock, SystemClock
from ops.collector import calm_collector
from ops.faults import FaultPoints
from ops.metrics import Metrics
from ops.serve import serving, stop_on_signal
from ops.settings import Settings
from ops.tracing import Tracer
from schemas.topics import Region
from sinks.consumer import TopicConsumer, members
from sinks.loop import Handle
from sinks.region import OpenStore, RegionSink
from sinks.store import Row

_GRACE_SECONDS = 10.0


class Surroundings(NamedTuple):
    """What the parts of a process have in common."""

    settings: Settings
    metrics: Metrics
    clock: Clock
    faults: FaultPoints


class Part(Protocol):
    """What works in one region while it is entered: a sink, or what stands beside it."""

    tracer: Tracer | None

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(self, *exc: object) -> None:
        """End within the process's grace."""

    async def check(self) -> None:
        """Raise when it can't work."""


class Sink(NamedTuple, Generic[Row]):
    """What a sink is in one region."""

    handle: Handle[Row]
    open_store: OpenStore[Row]
    companion: Part | None = None
    """What works beside it."""


Describe = Callable[[Surroundings, Region], Sink[Any]]
PartsOf = Callable[[Surroundings, Region], Mapping[str, Part]]
"""What works in one region, by the names that its health has for it; begun in this order, and ended the other way round."""


def run(name: str, parts_of: PartsOf) -> None:
    """Run the sink of that name until SIGTERM, which ends it within 10 s whatever is away."""
    settings = Settings()
    log.configure(settings.log_level, f"sink-{name}")
    os.nice(settings.sinks_niceness)
    calm_collector()
    around = Surroundings(settings, Metrics(CollectorRegistry()), SystemClock(), FaultPoints(settings.fault_points))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(name, parts_of, around))


async def _serve(name: str, parts_of: PartsOf, around: Surroundings) -> None:
    settings = around.settings
    stop = asyncio.Event()
    stop_on_signal(stop, grace=_GRACE_SECONDS)  # stored positions make a sudden end free
    regions = [parts_of(around, region) for region in settings.regions]
    parts = {called: part for each in regions for called, part in each.items()}
    checks: Mapping[str, health.Check] = {called: part.check for called, part in parts.items()}
    app = health.create_app(settings, health.Health(f"hyrelog-{name}", checks, around.clock), around.metrics)
    consumers = [part for part in parts.values() if isinstance(part, TopicConsumer)]
    async with AsyncExitStack() as exits:
        tracer = await exits.enter_async_context(tracing.opened(settings, f"hyrelog-{name}"))
        await exits.enter_async_context(serving(app, host=settings.http_host, port=settings.sinks_http_port))
        await exits.enter_async_context(_side_by_side([_at_work([*each.values()], tracer) for each in regions]))
        await exits.enter_async_context(_side_by_side(members(name, settings, consumers)))
        await stop.wait()


@asynccontextmanager
async def _at_work(parts: Sequence[Part], tracer: Tracer | None) -> AsyncIterator[None]:
    """One region's parts."""
    async with AsyncExitStack() as exits:
        for part in parts:
            part.tracer = tracer
            await exits.enter_async_context(part)
        yield


@asynccontextmanager
async def _side_by_side(contexts: Sequence[AbstractAsyncContextManager[object]]) -> AsyncIterator[None]:
    """All of them; they end at the same time, as each may take most of its grace."""
    await asyncio.gather(*(each.__aenter__() for each in contexts))
    try:
        yield
    finally:
        await asyncio.gather(*(each.__aexit__(None, None, None) for each in contexts))


def of_events(name: str, describe: Describe) -> PartsOf:
    """The parts of a sink of the events topic."""
    return lambda around, region: dict(_parts(name, describe, around, region))


def _parts(name: str, describe: Describe, around: Surroundings, region: Region) -> Iterator[tuple[str, Part]]:
    """A companion begins before its sink, and ends after it."""
    settings, metrics, clock, faults = around
    sink = describe(around, region)
    if sink.companion is not None:
        yield f"{name} {region} companion", sink.companion
    yield (
        f"{name} {region}",
        RegionSink(name, sink.handle, sink.open_store, settings, region, metrics=metrics, clock=clock, faults=faults),
    )
