"""How fast one worker works off a backlog."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.bench.backlog import feed
from tests.bench.bench import WORKER, Bench
from tests.bench.meter import Cost
from tests.bench.pipeline import DRAIN_SECONDS, Counts, NotDrained
from tests.bench.stats import middle

Feed = Callable[[Bench, int, int], Awaitable[None]]
_POLL_SECONDS = 0.1


class Sample(NamedTuple):
    """Where things stand, and what was spent so far."""

    counts: Counts
    cost: Cost


@dataclass(frozen=True, slots=True)
class Drain:
    """Events a second between 10 % and 90 % of the backlog. ``cost`` is that of ``events``, the ones persisted in between."""

    per_envelope: int
    backlog: int
    persisted: float
    announced: float
    events: int
    cost: Cost


async def drain(bench: Bench, per_envelope: int, backlog: int, feed: Feed = feed) -> Drain:
    """Stop the worker, feed ``backlog`` events, start it again and look. Raises ``NotDrained``."""
    await bench.pipeline.drained()
    await asyncio.to_thread(bench.stack.parts.stop, WORKER)
    bench.say(f"  feeding {backlog:,} events, {per_envelope} an envelope")
    await feed(bench, backlog, per_envelope)
    before = await bench.pipeline.counts()
    starting = asyncio.create_task(asyncio.to_thread(bench.stack.parts.start, WORKER))
    samples = await _samples(bench, before.persisted + backlog)
    await starting
    bench.meter.note_memory()
    return _figure(backlog, per_envelope, samples)


async def _samples(bench: Bench, goal: int) -> list[Sample]:
    samples = [Sample(await bench.pipeline.counts(), bench.meter.read())]
    while samples[-1].counts.announced < goal:
        if samples[-1].counts.at > samples[0].counts.at + DRAIN_SECONDS:
            raise NotDrained(f"the worker has not drained {goal:,} events in {DRAIN_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)
        samples.append(Sample(await bench.pipeline.counts(), bench.meter.read()))
    return samples


def _figure(backlog: int, per_envelope: int, samples: list[Sample]) -> Drain:
    of_persisted = samples[middle([sample.counts.persisted for sample in samples])]
    of_announced = samples[middle([sample.counts.announced for sample in samples])]
    first, last = of_persisted[0], of_persisted[-1]
    events = last.counts.persisted - first.counts.persisted
    begin, end = of_announced[0].counts, of_announced[-1].counts
    return Drain(
        per_envelope,
        backlog,
        persisted=events / (last.counts.at - first.counts.at),
        announced=(end.announced - begin.announced) / (end.at - begin.at),
        events=events,
        cost=last.cost.since(first.cost),
    )
