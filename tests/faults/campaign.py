"""A run: load, faults in parallel lanes, then everything healed, drained and checked."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from schemas.topics import Region
from tests.faults import load, management
from tests.faults.checker import Verdict
from tests.faults.cluster import BESIDE, GATEWAY, RELAYS, SEARCHES, SERVED, WEBHOOKS, Cluster
from tests.faults.customers import customer
from tests.faults.faults import (
    GATEWAY_FAULTS,
    RELAY_FAULTS,
    SEARCH_FAULTS,
    SERVER_FAULTS,
    WEBHOOK_FAULTS,
    WORKER_FAULTS,
    Fault,
    Scene,
    ended_itself,
)
from tests.faults.trial import trial

_RATE = 300.0
_MANAGERS = 4
"""In each region: of one company's calls only ten a minute are carried out."""
_REST_SECONDS = (0.1, 0.8)
_CALM_SECONDS = (2.0, 5.0)
"""The gateway and the servers rest longer, or there would be no events to lose."""

Draw = tuple[str, str, Fault]
"""A fault drawn: the part it is about, its name, what it does."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends: after so many faults in each lane, or so many seconds, whatever comes first."""

    faults: int | None = None
    seconds: float = float("inf")


class Tally:
    """What a run did."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.verdict = Verdict()
        self.longest_drain_ms = 0

    def add(self, other: Tally) -> None:
        """Take over another run's figures."""
        self.faults += other.faults
        self.verdict.add(other.verdict)
        self.longest_drain_ms = max(self.longest_drain_ms, other.verdict.counts["drain ms"])


def deck(rng: random.Random, cards: Sequence[Draw]) -> Iterator[Draw]:
    """Every card once in a random order, then all over again: nothing is left out by bad luck."""
    while True:
        yield from rng.sample(cards, len(cards))


def lanes(cluster: Cluster) -> list[list[Draw]]:
    """A lane for each worker, relay and sink with its links, the gateway, the servers: only faults of one part do not overlap."""
    return [
        *([(name, kind, fault) for kind, fault in WORKER_FAULTS.items()] for name in cluster.workers),
        *([(name, kind, fault) for kind, fault in RELAY_FAULTS.items()] for name in RELAYS),
        *([(name, kind, fault) for kind, fault in SEARCH_FAULTS.items()] for name in SEARCHES),
        *([(name, kind, fault) for kind, fault in WEBHOOK_FAULTS.items()] for name in WEBHOOKS),
        [(GATEWAY, kind, fault) for kind, fault in GATEWAY_FAULTS.items()],
        [(target, kind, fault) for kind, (target, fault) in SERVER_FAULTS.items()],
    ]


async def run(cluster: Cluster, seed: int, limits: Limits) -> Tally:
    """One run on new workspaces, from a cluster at rest to a cluster at rest."""
    tally = Tally()
    writers = load.accounts(cluster.tenant(Region.EU, workspaces=3))
    managers = [each for region in SERVED for each in await management.managers(cluster, region, _MANAGERS)]
    customers = [await customer(cluster, Region.US, f"run-{seed}")]
    async with trial(cluster, writers, f"run-{seed}", managers, customers) as running:
        async with (
            load.load(running.client, running.writers, seed=seed, rate=_RATE),
            management.load(cluster.base_url, managers, running.calls, seed=seed),
        ):
            racing = [_race(cluster, random.Random(f"{seed}-{i}"), cards, limits, tally) for i, cards in enumerate(lanes(cluster))]
            await asyncio.gather(*racing)
        tally.verdict.add(await running.verdict())
    return tally


async def _race(cluster: Cluster, rng: random.Random, cards: Sequence[Draw], limits: Limits, tally: Tally) -> None:
    ends = time.monotonic() + limits.seconds
    for count, (target, kind, fault) in enumerate(deck(rng, cards)):
        if count == limits.faults or time.monotonic() >= ends:
            return
        if not cluster.is_running(target):
            await _restart(cluster, target, tally)
        try:
            await fault(Scene(cluster, target, rng))
        except AssertionError as error:
            tally.verdict.blame(f"{kind} of {target}: {error}")
        else:
            tally.faults[kind] += 1
        await asyncio.sleep(rng.uniform(*(_REST_SECONDS if target in (*cluster.workers, *BESIDE) else _CALM_SECONDS)))


async def _restart(cluster: Cluster, name: str, tally: Tally) -> None:
    """What a supervisor would do. Workers and sinks may end themselves, when they know that they are deaf or stalled; nothing else may."""
    last_lines = cluster.parts.runners[name].last_lines()
    if not ended_itself(last_lines):
        tally.verdict.blame(f"{name} ended by itself: {last_lines}")
    await cluster.start(name)
