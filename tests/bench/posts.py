"""Posting as fast as it goes: what is accepted, and what of it is persisted and announced in the same time."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.load import CONNECTIONS, Load
from tests.bench.meter import Cost
from tests.bench.workload import request_files

# By batch size: enough to keep ingest busy, few enough that no request waits for seconds.
_CONNECTIONS = {1: CONNECTIONS, 100: 16, 1000: 4}


class Lost(Exception):
    """Less was persisted than accepted."""


@dataclass(frozen=True, slots=True)
class Window:
    """One burst of load and the drain after it. Rates are events a second."""

    accepted: float
    announced: float
    """Persisted and announced while the load lasted."""
    lag_seconds: float
    """From the end of the load until nothing was under way."""
    load: Load
    events: int
    cost: Cost
    """From the beginning of the load until nothing was under way."""


@dataclass(frozen=True, slots=True)
class Posting:
    """The windows of one batch size. ``stored`` is the number of events in the database when the first one began."""

    batch: int
    connections: int
    stored: int
    windows: tuple[Window, ...]

    @property
    def accepted(self) -> float:
        """Events a second, the median."""
        return statistics.median(window.accepted for window in self.windows)

    @property
    def announced(self) -> float:
        """Events a second, the median."""
        return statistics.median(window.announced for window in self.windows)

    @property
    def lag_seconds(self) -> float:
        """The longest."""
        return max(window.lag_seconds for window in self.windows)

    @property
    def p50(self) -> float:
        """Seconds from request to answer, the median of the windows'."""
        return statistics.median(window.load.latency.p50 for window in self.windows)

    @property
    def p99(self) -> float:
        """As ``p50``."""
        return statistics.median(window.load.latency.p99 for window in self.windows)

    @property
    def events(self) -> int:
        """All that were persisted."""
        return sum(window.events for window in self.windows)

    @property
    def cost(self) -> Cost:
        """What all windows cost."""
        return reduce(Cost.plus, (window.cost for window in self.windows))


async def post(bench: Bench, batch: int) -> Posting:
    """Warm up, then measure window by window. Raises ``LoadError``, ``NotDrained`` and ``Lost``."""
    connections = _CONNECTIONS[batch]
    with request_files(bench.tenant, batch) as requests:
        stored = (await bench.pipeline.drained()).persisted
        await asyncio.to_thread(bench.generator.run, bench.port, requests, bench.plan.warm_up_seconds, connections)
        windows = [await _window(bench, requests, batch, connections) for _ in range(bench.plan.windows)]
    return Posting(batch, connections, stored, tuple(windows))


async def post_keyed(bench: Bench) -> tuple[Posting, Posting]:
    """Single posts without and with a fresh idempotency key each, window by window in turn. Raises as ``post``."""
    with request_files(bench.tenant, 1) as plain, request_files(bench.tenant, 1, is_keyed=True) as keyed:
        stored = (await bench.pipeline.drained()).persisted
        for requests in (plain, keyed):
            await asyncio.to_thread(bench.generator.run, bench.port, requests, bench.plan.warm_up_seconds, CONNECTIONS)
        pairs = [[await _window(bench, requests, 1, CONNECTIONS) for requests in (plain, keyed)] for _ in range(bench.plan.windows)]
    without, under_keys = (Posting(1, CONNECTIONS, stored, windows) for windows in zip(*pairs, strict=True))
    return without, under_keys


async def _window(bench: Bench, requests: Path, batch: int, connections: int) -> Window:
    before = await bench.pipeline.drained()
    spent = bench.meter.read()
    load = await asyncio.to_thread(bench.generator.run, bench.port, requests, bench.plan.window_seconds, connections)
    at_end = await bench.pipeline.counts()
    after = await bench.pipeline.drained()
    cost = bench.meter.read().since(spent).with_process(bench.generator.name, load.cpu_seconds)
    bench.meter.note_memory()
    events = after.persisted - before.persisted
    if events < load.requests * batch:
        raise Lost(f"{load.requests * batch} events were accepted and {events} persisted")
    return Window(
        accepted=load.requests * batch / load.seconds,
        announced=(at_end.announced - before.announced) / (at_end.at - before.at),
        lag_seconds=after.at - at_end.at,
        load=load,
        events=events,
        cost=cost,
    )
