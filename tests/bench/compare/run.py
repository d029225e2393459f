"""The run of a comparison: both stacks are watched idle together, then measured in turn while the other one is frozen."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from ops.seed import Tenant
from tests.bench.bench import Bench
from tests.bench.compare.build import Build
from tests.bench.compare.figures import FIGURES, IN_SHORT_FORM, Conditions, Figure
from tests.bench.compare.pairing import Comparison, Metric, Window, alternate, comparisons
from tests.bench.compare.processes import freeze
from tests.bench.echo import Echo, EchoWindow, echoing
from tests.bench.idle import read, spent
from tests.bench.plan import Plan
from tests.bench.posts import CONNECTIONS_OF_BATCH
from tests.bench.resting import at_rest, sinks_caught_up
from tests.bench.workload import request_files

IDLE = "idle"
NAMES = (IDLE, *FIGURES)
SHORT_NAMES = (IDLE, *IN_SHORT_FORM)
_LOAD_AT_FIXED_RATE = 0.5
"""Of what the slower build accepts."""


@dataclass
class Results:
    """Windows by figure and build, and those of the yardstick by the figure whose requests it served."""

    windows: dict[str, dict[str, list[Window]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    echoes: dict[str, list[EchoWindow]] = field(default_factory=lambda: defaultdict(list))
    rates: dict[str, float] = field(default_factory=dict)
    """Requests a second, of the figures at a fixed rate."""

    def comparisons(self, this: str, other: str) -> dict[str, list[Comparison]]:
        """By figure, in the order in which they were taken."""
        return {name: comparisons(builds[this], builds[other]) for name, builds in self.windows.items()}


class Run:
    """One comparison of two builds whose stacks are up."""

    def __init__(self, this: Build, other: Build, plan: Plan, console: Console) -> None:
        self._builds = (this, other)
        self._plan = plan
        self._console = console
        self._companies: dict[tuple[str, str], Tenant] = {}
        """What figures prepared, by figure and build."""
        self._began = time.monotonic()
        self.results = Results()

    async def take(self, names: Collection[str]) -> None:
        """Take the named figures. Raises what they raise, and ``BuildError``."""
        if IDLE in names:
            await self._idle()
        for build in self._builds:
            freeze(build.stack.state.root)
        chosen = {name: figure for name, figure in FIGURES.items() if name in names}
        for is_of_whole_stack in (True, False):
            await self._phase({name: figure for name, figure in chosen.items() if figure.is_of_whole_stack == is_of_whole_stack})

    def _say(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._began:4.0f} s  {text}", highlight=False)

    async def _idle(self) -> None:
        """Both at the same moment: each needs a few hundredths of a core, so neither is in the other's way."""
        self._say(f"idle, {self._plan.idle_settle_seconds:.0f} s to settle first")
        await asyncio.sleep(self._plan.idle_settle_seconds)
        before = [read(build.stack) for build in self._builds]
        for _ in range(self._plan.windows):
            await asyncio.sleep(self._plan.idle_seconds)
            after = [read(build.stack) for build in self._builds]
            for build, first, last in zip(self._builds, before, after, strict=True):
                self.results.windows[IDLE][build.checkout.name].append(_idle_window(spent(first, last)))
            before = after

    async def _phase(self, figures: Mapping[str, Figure]) -> None:
        if not figures:
            return
        async with AsyncExitStack() as stack:
            echoes = await self._prepare(figures, stack)
            for name, figure in figures.items():
                self._say(name)
                for order in alternate(*self._builds, self._plan.windows):
                    if name in echoes:
                        await self._echo(name, figure, *echoes[name])
                    for build in order:
                        await self._turn(build, name, figure)

    async def _prepare(self, figures: Mapping[str, Figure], stack: AsyncExitStack) -> Mapping[str, tuple[Echo, Path]]:
        """Stop the sinks where they are not wanted, warm up both builds, choose the fixed rate, and start the yardsticks."""
        echoes: dict[str, tuple[Echo, Path]] = {}
        accepted: list[float] = []
        for build in self._builds:
            async with build.turn(self._plan, self._console) as bench:
                if not any(figure.is_of_whole_stack for figure in figures.values()):
                    await at_rest(bench)
                accepted.append(await _load(bench, 1, self._plan.window_seconds))
                for name, figure in figures.items():
                    if figure.prepare:
                        self._companies[name, build.checkout.name] = await figure.prepare(bench)
                    if figure.batch > 1:
                        await _load(bench, figure.batch, self._plan.window_seconds)
                    if figure.batch and build is self._builds[0]:
                        requests = stack.enter_context(request_files(build.tenant, figure.batch))
                        echoes[name] = (await stack.enter_async_context(echoing(bench.port, requests, bench.generator)), requests)
        self.results.rates |= {name: _LOAD_AT_FIXED_RATE * min(accepted) for name, figure in figures.items() if figure.has_fixed_rate}
        return echoes

    async def _echo(self, name: str, figure: Figure, echo: Echo, requests: Path) -> None:
        window = await echo.window(requests, self._plan.echo_seconds, CONNECTIONS_OF_BATCH[figure.batch])
        self.results.echoes[name].append(window)

    async def _turn(self, build: Build, name: str, figure: Figure) -> None:
        async with build.turn(self._plan, self._console) as bench:
            await _load(bench, 1, self._plan.warm_up_seconds)
            if figure.is_of_whole_stack:
                await sinks_caught_up(bench)
            company = self._companies.get((name, build.checkout.name), build.tenant)
            window = await figure.measure(bench, Conditions(self.results.rates.get(name, 0.0), company))
            self.results.windows[name][build.checkout.name].append(window)


async def _load(bench: Bench, batch: int, seconds: float) -> float:
    """Post to warm up; the requests a second that were accepted."""
    with request_files(bench.tenant, batch) as requests:
        load = await asyncio.to_thread(bench.generator.run, bench.port, requests, seconds, CONNECTIONS_OF_BATCH[batch])
    await bench.pipeline.drained()
    return load.requests / load.seconds


def _idle_window(parts: Mapping[str, float]) -> Window:
    details = {Metric(name, "ms/s", is_detail=True): cost for name, cost in parts.items()}
    return {Metric("CPU, all parts", "ms/s"): sum(parts.values()), **details}
