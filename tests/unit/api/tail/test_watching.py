"""Keys are watched region by region: one that hangs holds no other up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry

from api.store import Store
from api.tail import tails
from api.tail.catchup import Stored
from api.tail.tails import TailLimits, Tails
from api.tail.watch import Holder, KeyWatch
from ops.metrics import Metrics
from ops.store import KeyRow
from schemas.topics import Region
from tests.support.keys import FakeClock
from tests.support.tail_world import POSITIONS, World


class NoKeys:
    """None are stored."""

    async def find_all(self, region: Region, hashes: list[bytes]) -> list[KeyRow]:
        return []


class Asked(KeyWatch):
    """Counts; and never answers if it ``hangs``."""

    def __init__(self, region: Region, *, hangs: bool) -> None:
        super().__init__(region, NoKeys(), FakeClock())
        self.times = 0
        self._hangs = hangs

    async def spent(self, holders: Iterable[Holder]) -> set[Holder]:
        self.times += 1
        if self._hangs:
            await asyncio.Event().wait()
        return set()


async def test_a_region_that_hangs_holds_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "_TICK_SECONDS", 0.0)
    monkeypatch.setattr(tails, "_WATCH_SECONDS", 0.0)
    metrics = Metrics(CollectorRegistry())
    watches = {Region.US: Asked(Region.US, hangs=True), Region.EU: Asked(Region.EU, hangs=False)}
    stored = Stored.of(Store({}, metrics), lambda _workspace: 0, 1)
    all_tails = Tails(stored, {Region.US: World().hub()}, watches, POSITIONS, TailLimits(1, 1, 1.0), clock=FakeClock(), metrics=metrics)
    running = [asyncio.create_task(work) for work in (all_tails.run(), *map(all_tails.watch, watches))]
    async with asyncio.timeout(10):
        while watches[Region.EU].times < 3:
            await asyncio.sleep(0)
    assert watches[Region.US].times == 1
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
