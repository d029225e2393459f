"""What is compared: for each figure, how one window of one build is measured."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle, islice
from statistics import geometric_mean
from typing import NamedTuple

from ops.seed import Tenant
from tests.bench.bench import Bench
from tests.bench.compare.pairing import Better, Metric, Window
from tests.bench.drain import drain
from tests.bench.meter import Cost
from tests.bench.posts import post_window
from tests.bench.queries import ask, load_company
from tests.bench.resting import sinks_caught_up
from tests.bench.stats import Percentiles
from tests.bench.visible import visible
from tests.bench.workload import body, request_files

_BATCH = 100
_FEEDERS = 4
_FEED_SECONDS = 30
_PARTS = ("ingest", "worker", "search", "webhooks", "archive", "Kafka", "Postgres")
"""HyreLog's own, of those that the meter reads: the load generator and the observer cost both builds the same."""


class Conditions(NamedTuple):
    """What both builds' windows have in common."""

    rate: float
    """Requests a second, of figures that do not post as fast as they can."""
    company: Tenant
    """Whose events are queried: the one that the figure prepared, or the bench's own."""


@dataclass(frozen=True, slots=True)
class Figure:
    """``measure`` takes the bench of the build whose turn it is; ``prepare`` runs once a build before."""

    measure: Callable[[Bench, Conditions], Awaitable[Window]]
    prepare: Callable[[Bench], Awaitable[Tenant]] | None = None
    is_of_whole_stack: bool = False
    """Whether the sinks run, as a user has it."""
    has_fixed_rate: bool = False
    """Whether it posts at a rate that is the same for both builds."""
    batch: int = 0
    """Events a request, of a figure that posts as fast as it goes: its yardstick is an echo of the same requests."""


async def single(bench: Bench, _conditions: Conditions) -> Window:
    """Single posts as fast as they go."""
    return await _posted(bench, 1)


async def whole_stack(bench: Bench, _conditions: Conditions) -> Window:
    """The same with everything running; the sinks' part of the work is in its cost."""
    return await _posted(bench, 1, lambda: sinks_caught_up(bench))


async def batches(bench: Bench, _conditions: Conditions) -> Window:
    """Batches of 100."""
    return await _posted(bench, _BATCH)


async def _posted(bench: Bench, batch: int, settled: Callable[[], Awaitable[None]] | None = None) -> Window:
    with request_files(bench.tenant, batch) as requests:
        done = await post_window(bench, requests, batch, settled)
    return {
        Metric("accepted", "/s", Better.HIGHER): done.accepted,
        Metric("persisted and announced", "/s", Better.HIGHER): done.announced,
        **_percentiles("request → 202", done.load.latency),
        **_cpu(done.cost, done.events),
    }


async def visibility(bench: Bench, conditions: Conditions) -> Window:
    """From a 202 to the event on the topic and in Postgres, at the fixed rate."""
    seen = await visible(bench, conditions.rate)
    return {
        **_percentiles("202 → on the events topic", seen.on_topic),
        **_percentiles("202 → in Postgres", seen.in_postgres),
        **_percentiles("request → 202", seen.answered),
        **_cpu(seen.cost, seen.events),
    }


async def searchable_company(bench: Bench) -> Tenant:
    """A company with the plan's stored events."""
    return await load_company(bench, "Large", bench.plan.stored)


async def queried(bench: Bench, conditions: Conditions) -> Window:
    """Every query in turn while events are posted at the fixed rate; of the medians of all filters the geometric mean."""
    seconds = await ask(bench, conditions.company, bench.plan.stored, conditions.rate)
    groups: dict[str, list[float]] = defaultdict(list)
    for place, found in seconds.items():
        groups[f"{'text' if place.query.startswith('q, ') else 'filters'}, {place.page} page"].append(found.p50 * 1000)
    return {Metric(f"{name}, p50", "ms"): geometric_mean(groups[name]) for name in sorted(groups)}


async def drained(bench: Bench, _conditions: Conditions) -> Window:
    """One worker works off a backlog."""
    done = await drain(bench, _BATCH, bench.plan.backlog, feed_by_http)
    return {Metric("announced", "/s", Better.HIGHER): done.announced, **_cpu(done.cost, done.events)}


async def feed_by_http(bench: Bench, events: int, per_envelope: int) -> None:
    """Post a backlog in batches: an envelope's form may differ between builds, the HTTP API does not. Raises ``RuntimeError``."""
    await asyncio.to_thread(_feed, bench, events // per_envelope, per_envelope)


def _feed(bench: Bench, batches: int, size: int) -> None:
    bodies = [(workspace.key or "", body(number * size, size)) for number, workspace in enumerate(bench.tenant.workspaces)]
    every = list(islice(cycle(bodies), batches))
    with ThreadPoolExecutor(_FEEDERS) as pool:
        list(pool.map(lambda first: _send(bench.port, every[first::_FEEDERS]), range(_FEEDERS)))


def _send(port: int, bodies: Iterable[tuple[str, bytes]]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=_FEED_SECONDS)
    for key, content in bodies:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/events/batch", content, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 202:
            raise RuntimeError(f"a batch was answered {answer.status}: {text.decode()}")
    connection.close()


def _percentiles(name: str, seconds: Percentiles) -> Window:
    return {Metric(f"{name}, p50", "ms"): seconds.p50 * 1000, Metric(f"{name}, p99", "ms"): seconds.p99 * 1000}


def _cpu(cost: Cost, events: int) -> Window:
    parts = {name: cost.cpu[name] * 1e6 / events for name in _PARTS if cost.cpu.get(name)}
    details = {Metric(name, "µs", is_detail=True): value for name, value in parts.items()}
    return {Metric("CPU an event", "µs"): sum(parts.values()), **details}


FIGURES: Mapping[str, Figure] = {
    "whole-stack": Figure(whole_stack, is_of_whole_stack=True, batch=1),
    "queries": Figure(queried, prepare=searchable_company, is_of_whole_stack=True, has_fixed_rate=True),
    "single": Figure(single, batch=1),
    "batches": Figure(batches, batch=_BATCH),
    "visible": Figure(visibility, has_fixed_rate=True),
    "drain": Figure(drained),
}
"""By name, in the order in which they are taken. ``idle`` is not among them: both stacks are watched at the same time for it."""
IN_SHORT_FORM = tuple(name for name in FIGURES if name != "queries")
"""The others are taken when they are named, and in the long form."""
