"""The search sink: each event indexed once, whoever dies or freezes, and the check that says so can fail."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from signal import SIGCONT, SIGQUIT, SIGTERM
from uuid import uuid4

import psutil
import pytest

from ops.faults import SINK_POINTS
from schemas.event import StoredEvent
from schemas.tokens import event_tokens
from schemas.topics import Region
from tests.faults import load
from tests.faults.checker import Verdict
from tests.faults.cluster import SEARCHES, Cluster
from tests.faults.faults import COMMIT, Scene, crash, deaths, freezer, sprung
from tests.faults.link import Way
from tests.faults.load import Account
from tests.faults.search import Row, check_rows
from tests.faults.standing import superuser
from tests.faults.trial import trial
from tests.support.chains import Chain

pytestmark = pytest.mark.asyncio(loop_scope="session")
_REFILL = "sink_in_refill"
_SINK_SECONDS = 12.0
"""A sink told to end has ended by then, whatever is away."""


async def test_every_crash_point_under_load(cluster: Cluster, writers: list[Account]) -> None:
    """Two at a time, so that most crashes meet the other one's take-over."""
    points = [point for point in SINK_POINTS if point != _REFILL]

    async def die(name: str, own: list[str]) -> None:
        for point in own:
            await crash(point)(Scene(cluster, name, random.Random(point)))

    async with trial(cluster, writers, "search-crash") as running:
        async with load.load(running.client, writers, seed=1, rate=200):
            await asyncio.gather(*(die(name, points[index::2]) for index, name in enumerate(SEARCHES)))
        (await running.verdict()).assert_good()


async def test_a_sink_dies_while_it_reads_from_postgres(cluster: Cluster, writers: list[Account]) -> None:
    """Both sinks are new to the region, and the one that refills is killed: what it had not yet taken, the next one takes."""
    first, second = SEARCHES
    async with trial(cluster, writers, "search-refill") as running:
        for name in SEARCHES:
            await asyncio.to_thread(cluster.parts.stop, name)
        await asyncio.gather(*(running.client.post(account, 20) for account in writers))
        async with superuser(cluster, Region.US) as connection:
            await connection.execute("DELETE FROM search_position")
        before = deaths(cluster, first, _REFILL)
        await cluster.start(first, ready=False, environ={"FAULT_POINTS": f"{_REFILL}:0.3:4"})
        await cluster.ended(first)
        assert deaths(cluster, first, _REFILL) == before + 1
        await cluster.start(second)
        (await running.verdict()).assert_good()


async def test_the_other_sink_takes_over_from_one_that_froze_before_it_committed(cluster: Cluster, writers: list[Account]) -> None:
    """PostgreSQL ends its transaction; what it does when it wakes up changes nothing."""
    first = SEARCHES[0]
    async with trial(cluster, writers, "search-frozen") as running:
        pid = cluster.parts.pid(first)
        assert pid
        trap = cluster.postgres_links[first].set_trap(freezer(pid, Way.TO_SERVER, COMMIT))
        async with load.load(running.client, writers, seed=3, rate=100):
            await sprung(trap, "COMMIT")
            await asyncio.sleep(12)
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
        await cluster.signal(first, SIGCONT)
        (await running.verdict()).assert_good()


async def test_sigterm_ends_a_sink_in_time_whatever_is_away(cluster: Cluster, writers: list[Account]) -> None:
    first, second = SEARCHES
    async with trial(cluster, writers, "search-sigterm") as running:
        async with load.load(running.client, writers, seed=2, rate=100):
            await cluster.kill("kafka")
            await cluster.kill(first, SIGTERM, _SINK_SECONDS)
            await cluster.start("kafka")
            await cluster.start(first)
            await cluster.kill("postgres", SIGQUIT)
            cluster.kafka_links[second].hang()
            cluster.postgres_links[second].hang()
            await asyncio.gather(*(cluster.kill(name, SIGTERM, _SINK_SECONDS) for name in SEARCHES))
            await cluster.start("postgres")
        (await running.verdict()).assert_good()


def _row(event: StoredEvent) -> Row:
    return Row(event.workspace_id, event.seq, event.company_id, event.timestamp, event.received_at, event.id, event_tokens(event))


def _judge(rows: list[Row], events: list[StoredEvent]) -> list[str]:
    verdict = Verdict()
    check_rows(rows, events, verdict)
    return verdict.violations


async def test_the_check_finds_what_is_missing_doubled_foreign_or_different() -> None:
    events = Chain(str(uuid4()), str(uuid4())).events(3)
    rows = [_row(event) for event in events]
    assert _judge(rows, events) == []
    assert "not indexed" in _judge(rows[:2], events)[0]
    assert "twice" in _judge([*rows, rows[0]], events)[0]
    assert "not stored" in _judge(rows, events[:2])[0]
    assert "another event" in _judge([*rows[:2], _row(replace(events[2], action="other"))], events)[0]
