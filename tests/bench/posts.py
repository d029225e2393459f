"""Posting as fast as it goes: what is accepted, and what of it is persisted and announced in the same time."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.echo import EchoWindow, echoing
from tests.bench.load import CONNECTIONS, Load
from tests.bench.meter import Cost
from tests.bench.workload import request_files

CONNECTIONS_OF_BATCH = {1: CONNECTIONS, 100: 16, 1000: 4}
"""By batch size: enough to keep ingest busy, few enough that no request waits for seconds."""


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
    """From the beginning of the load until nothing was under way, in the sinks too where they run."""


@dataclass(frozen=True, slots=True)
class Posting:
    """The windows of one batch size. ``stored`` is the number of events in the database when the first one began."""

    batch: int
    connections: int
    stored: int
    windows: tuple[Window, ...]
    echo: tuple[EchoWindow, ...]
    """The same requests to a bare echo, each window after one of these."""

    @property
    def share_of_echo(self) -> float:
        """Requests that were accepted for each that the echo served in the same time."""
        return self.accepted / self.batch / statistics.median(window.rate for window in self.echo)

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


async def post(bench: Bench, batch: int, settled: Callable[[], Awaitable[None]] | None = None) -> Posting:
    """Warm up, then measure window by window; ``settled`` as of ``post_window``. Raises ``LoadError``, ``NotDrained`` and ``Lost``."""
    connections = CONNECTIONS_OF_BATCH[batch]
    windows, echoes = list[Window](), list[EchoWindow]()
    with request_files(bench.tenant, batch) as requests:
        stored = (await bench.pipeline.drained()).persisted
        await warm_up(bench, requests, connections)
        async with echoing(bench.port, requests, bench.generator) as echo:
            for _ in range(bench.plan.windows):
                windows.append(await post_window(bench, requests, batch, settled))
                echoes.append(await echo.window(requests, bench.plan.echo_seconds, connections))
    return Posting(batch, connections, stored, tuple(windows), tuple(echoes))


async def post_keyed(bench: Bench) -> tuple[Posting, Posting]:
    """Single posts without and with a fresh idempotency key each, window by window in turn. Raises as ``post``."""
    without, under_keys, echoes = list[Window](), list[Window](), list[EchoWindow]()
    with request_files(bench.tenant, 1) as plain, request_files(bench.tenant, 1, is_keyed=True) as keyed:
        stored = (await bench.pipeline.drained()).persisted
        for requests in (plain, keyed):
            await warm_up(bench, requests, CONNECTIONS)
        async with echoing(bench.port, plain, bench.generator) as echo:
            for _ in range(bench.plan.windows):
                without.append(await post_window(bench, plain, 1))
                under_keys.append(await post_window(bench, keyed, 1))
                echoes.append(await echo.window(plain, bench.plan.echo_seconds, CONNECTIONS))
    first, second = (Posting(1, CONNECTIONS, stored, tuple(windows), tuple(echoes)) for windows in (without, under_keys))
    return first, second


async def warm_up(bench: Bench, requests: Path, connections: int) -> Load:
    """Load that is not measured. Raises ``LoadError``."""
    return await asyncio.to_thread(bench.generator.run, bench.port, requests, bench.plan.warm_up_seconds, connections)


async def post_window(bench: Bench, requests: Path, batch: int, settled: Callable[[], Awaitable[None]] | None = None) -> Window:
    """Post for the plan's seconds, then wait until nothing is under way, and ``settled``. Raises as ``post``."""
    before = await bench.pipeline.drained()
    spent = bench.meter.read()
    seconds, connections = bench.plan.window_seconds, CONNECTIONS_OF_BATCH[batch]
    load = await asyncio.to_thread(bench.generator.run, bench.port, requests, seconds, connections)
    at_end = await bench.pipeline.counts()
    after = await bench.pipeline.drained()
    if settled is not None:
        await settled()
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
