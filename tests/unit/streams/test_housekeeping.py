"""A region's housekeeping: seldom while all is quiet, soon and often after whatever may need it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from ops.clock import SystemClock
from ops.faults import FaultPoints
from ops.kafka import Bounds, KafkaError, Topic
from ops.metrics import Metrics
from ops.pace import Pace
from ops.progress import Progress
from ops.settings import Settings
from schemas.topics import Region
from streams import region as regions
from streams.chain import Outcome
from streams.region import RegionWorker
from streams.store import Source

PATIENCE = 5.0
LONG = 3600.0
TOPIC = Topic(UUID(int=1), 8)


class CountingWorker(RegionWorker):
    """Counts its looks instead of taking them."""

    looks = 0
    error: Exception | None = None

    async def _tick(self) -> bool:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return True


def make(kind: type[RegionWorker]) -> Any:
    settings = cast(Settings, SimpleNamespace(streams_chunk_events=100, streams_chunk_bytes=1 << 20, streams_stall_seconds=60.0))
    return kind(settings, Region.EU, metrics=Metrics(CollectorRegistry()), clock=SystemClock(), faults=FaultPoints(None))


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CountingWorker]:
    """One that has looked once and found all quiet, and would look again in an hour."""
    monkeypatch.setattr(regions, "_TICK_SECONDS", 0.01)
    made = make(CountingWorker)
    made._pace = Pace(LONG, LONG)
    housekeeping = asyncio.create_task(made._keep_house())
    await until(lambda: made.looks == 1)
    yield made
    housekeeping.cancel()
    await asyncio.gather(housekeeping, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_chunk_brings_the_next_look_forward(worker: CountingWorker) -> None:
    """It may be given up, and comes again only when housekeeping sees that nothing moves."""

    async def give_up(*_arguments: object) -> Outcome:
        return Outcome.GIVEN_UP

    worker._sources = {3: source()}
    worker._chains = cast(Any, {3: SimpleNamespace(process=give_up)})
    worker.flow = cast(Any, SimpleNamespace(keep_going=lambda: True))
    await worker.on_chunk(3, [])
    await until(lambda: worker.looks == 2)


async def test_a_failed_fetch_brings_the_next_looks_forward(worker: CountingWorker) -> None:
    """A consumer may leave its group for good when its broker restarts."""
    worker._pace = Pace(0.01, LONG)
    worker.look_soon()
    await until(lambda: worker.looks >= 4)


async def test_new_partitions_are_looked_after_at_once_even_if_postgres_is_away(worker: CountingWorker) -> None:
    """Who owned them before may have died between commit and announcement."""

    async def sources() -> dict[int, Source]:
        raise ConnectionError

    worker._store = cast(Any, SimpleNamespace(sources=sources))
    with pytest.raises(ConnectionError):
        await worker.positions([3])
    await until(lambda: worker.looks == 2)


async def test_after_a_failed_look_it_looks_often(worker: CountingWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "_FAILED_PAUSE_SECONDS", 0)
    worker._pace = Pace(0.001, LONG)
    worker._pace.interval = LONG
    worker.error = KafkaError()
    worker._alarm.within(0)
    await until(lambda: worker.looks > 20)


def source(**changes: Any) -> Source:
    return replace(Source(TOPIC.id, offset_base=0, next_offset=10, announced=10, parked_reason=None), **changes)


class Chain:
    """A partition's chain with nothing under way."""

    def __init__(self) -> None:
        self.next_position = 10
        self.busy = asyncio.Lock()

    async def was_set_back(self, source: Source) -> bool:
        return False

    async def catch_up(self, source: Source, keep_going: Callable[[], bool]) -> None: ...


@pytest.mark.parametrize(
    ("stored", "end", "is_busy", "is_quiet"),
    [
        (source(), 10, False, True),
        (source(), 11, False, False),
        (source(announced=9), 10, False, False),
        (source(parked_reason="LOG_BEHIND"), 10, False, False),
        (source(), 10, True, False),
    ],
    ids=["all is done", "a record waits", "not marked as announced", "parked", "a chunk is under way"],
)
async def test_a_partition_is_quiet_when_nothing_is_left_to_do(stored: Source, end: int, is_busy: bool, is_quiet: bool) -> None:
    worker, chain = make(RegionWorker), Chain()
    worker.flow = SimpleNamespace(pause=lambda *_: None, keep_going=lambda: True)
    worker._chains = {3: chain}
    worker._progress = {3: Progress()}
    if is_busy:
        await chain.busy.acquire()
    assert await worker._look_after(3, stored, TOPIC, Bounds(0, end)) is is_quiet
