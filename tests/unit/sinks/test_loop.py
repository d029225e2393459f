"""Where a partition's loop begins, and what it makes of records that nobody should have written."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import Semaphore
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ops.db import Connection, Pool
from ops.faults import FaultPoints
from ops.kafka import Bounds, Topic
from ops.metrics import Metrics
from schemas.codec import encode_stored
from schemas.event import StoredEvent
from schemas.topics import Region
from sinks.gauge import SinkMetrics
from sinks.loop import PartitionLoop
from sinks.store import AfterCommit, Letter, Position, SinkStore
from tests.support.chains import Chain

TOPIC = UUID(int=7)


class _Enough(Exception):
    """The loop has done what the case is about."""


class _Store(SinkStore[str]):
    """Keeps what it is given. ``trouble`` is raised instead of the first position."""

    def __init__(self, position: Position, trouble: Exception | None = None) -> None:
        super().__init__(Region.US, cast("Pool", None), {})
        self.position = position
        self.letters: list[Letter] = []
        self.log: list[str] = []
        """Commits, and the rows that were told of."""
        self.committing = asyncio.Event()
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self._trouble = trouble

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        yield cast("Connection", None)
        self.committing.set()
        await self.may_commit.wait()
        self.log.append("commit")

    async def lock_position(self, connection: Connection, partition: int) -> Position:
        trouble, self._trouble = self._trouble, None
        if trouble:
            raise trouble
        return self.position

    async def put_position(self, connection: Connection, partition: int, position: Position) -> None:
        self.position = position

    async def bury(self, connection: Connection, partition: int, letters: Sequence[Letter]) -> None:
        self.letters += letters

    async def insert(self, connection: Connection, rows: Sequence[str]) -> AfterCommit | None:
        """Tell when that is committed."""
        return partial(self.log.extend, rows)

    async def heads(self, connection: Connection, workspaces: Iterable[str]) -> dict[str, int]:
        return {}


class _Reader:
    """A log of these values, which begins at offset 10."""

    def __init__(self, *values: bytes | None) -> None:
        self._records = [SimpleNamespace(offset=10 + place, key=None, value=value, headers=()) for place, value in enumerate(values)]

    def seek(self, partition: int, offset: int) -> None:
        pass

    async def fetch(self, partition: int, *, limit: int, seconds: float) -> Sequence[Any]:
        if not self._records:
            raise _Enough
        records, self._records = self._records, []
        return records


def _handle(event: StoredEvent) -> str:
    return event.id


async def _run(store: _Store, reader: _Reader, ends: Sequence[int]) -> Metrics:
    """Until the log has no more; ``ends`` are its ends, one each time that it is asked."""
    metrics = Metrics(CollectorRegistry())
    with pytest.raises(_Enough):
        await _loop(store, reader, ends, metrics).run()
    return metrics


def _loop(store: _Store, reader: _Reader, ends: Sequence[int], metrics: Metrics) -> PartitionLoop[str]:
    left = iter(ends)

    async def standing(partition: int) -> tuple[Topic, Bounds]:
        return Topic(TOPIC, 8), Bounds(0, next(left))

    return PartitionLoop(
        0,
        _handle,
        store,
        reader=reader,
        standing=standing,
        is_ours=bool,
        gate=Semaphore(1),
        metrics=SinkMetrics(metrics, "search", Region.US),
        faults=FaultPoints(None),
    )


async def test_records_appended_while_another_owner_finished_are_no_contradiction() -> None:
    """Else a rebalance under load would look like a broker that lost records, and all workspaces were compared with their chains."""
    store = _Store(Position(TOPIC, 15, None))
    metrics = await _run(store, _Reader(), ends=[12, 16])
    assert store.position == Position(TOPIC, 15, None)
    assert metrics.registry.get_sample_value("hyrelog_sink_gaps_total", _labels("behind")) is None


async def test_a_log_that_ends_below_the_position_still_is_one() -> None:
    store = _Store(Position(TOPIC, 15, None))
    metrics = await _run(store, _Reader(), ends=[12, 13])
    assert store.position == Position(TOPIC, 13, UUID(int=0))
    assert metrics.registry.get_sample_value("hyrelog_sink_gaps_total", _labels("behind")) == 1


def _labels(reason: str) -> dict[str, str]:
    return {"sink": "search", "region": "US", "reason": reason}


async def test_a_record_without_a_value_is_a_dead_letter() -> None:
    """A tombstone; a process that it ended would end again at each start."""
    store = _Store(Position(TOPIC, 10, None))
    await _run(store, _Reader(None), ends=[11])
    assert [(letter.record_offset, letter.workspace_id) for letter in store.letters] == [(10, None)]
    assert store.position.next_offset == 11


async def test_what_a_library_says_of_an_error_is_not_logged() -> None:
    """It may quote an event. What is logged is its kind."""
    fields = {"S": "ERROR", "C": "40001", "M": "could not serialize", "D": "Key (id)=(jane.doe@example.org)"}
    store = _Store(Position(TOPIC, 10, None), asyncpg.PostgresError.new(fields))
    with capture_logs() as lines:
        await _run(store, _Reader(), ends=[10, 10])
    assert [line["error"] for line in lines] == ["asyncpg.exceptions.SerializationError: SQLSTATE 40001"]


async def test_what_is_left_to_be_done_is_done_after_the_commit() -> None:
    event = Chain(str(UUID(int=1)), str(UUID(int=2))).event()
    store = _Store(Position(TOPIC, 10, None))
    await _run(store, _Reader(encode_stored(event)), ends=[11])
    assert store.log == ["commit", "commit", event.id]


async def test_a_batch_whose_partition_is_taken_away_is_ended_all_the_same() -> None:
    """What it commits was claimed for this process: untold, its deliveries would wait for their leases to run out."""
    event = Chain(str(UUID(int=1)), str(UUID(int=2))).event()
    store = _Store(Position(TOPIC, 10, None))
    loop = _loop(store, _Reader(encode_stored(event)), [11], Metrics(CollectorRegistry()))
    running = asyncio.create_task(loop.run())
    await store.committing.wait()
    store.may_commit.clear()
    while loop.taking is None:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    store.may_commit.set()
    await loop.taking
    assert store.log == ["commit", "commit", event.id]
