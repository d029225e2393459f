"""A worker dies at each named place inside it."""

from __future__ import annotations

import asyncio
import random

import pytest

from ops.faults import POINTS
from schemas.topics import Region
from tests.faults import load
from tests.faults.cluster import Cluster
from tests.faults.faults import Scene, crash, deaths
from tests.faults.load import Account
from tests.faults.standing import drained
from tests.faults.trial import trial

pytestmark = pytest.mark.asyncio(loop_scope="session")
_LATER = "in_reannounce"


async def test_every_crash_point_under_load(cluster: Cluster, writers: list[Account]) -> None:
    """Three workers at a time, so that most crashes meet another one's take-over."""
    points = [point for point in POINTS if point != _LATER]

    async def die(name: str, own: list[str]) -> None:
        for point in own:
            await crash(point)(Scene(cluster, name, random.Random(point)))

    async with trial(cluster, writers, "crash") as running:
        async with load.load(running.client, writers, seed=1, rate=200):
            await asyncio.gather(*(die(name, points[index :: len(cluster.workers)]) for index, name in enumerate(cluster.workers)))
        (await running.verdict()).assert_good()


async def test_committed_never_announced_and_no_further_traffic(cluster: Cluster, writers: list[Account]) -> None:
    """No record comes that would remind anybody. The one who takes over dies while announcing, too; the third one does it."""
    first, second, third = cluster.workers
    async with trial(cluster, writers, "silent") as running:
        await drained(cluster, [Region.US])
        await cluster.only({first: {"FAULT_POINTS": "after_commit:1.0:1"}})
        await running.client.post(writers[0], 30)
        await cluster.ended(first)
        await cluster.start(second, ready=False, environ={"FAULT_POINTS": f"{_LATER}:1.0:1"})
        await cluster.ended(second)
        assert deaths(cluster, first, "after_commit")
        assert deaths(cluster, second, _LATER)
        await cluster.start(third)
        verdict = await running.verdict()
    verdict.assert_good()
    assert verdict.counts["events announced from Postgres"] >= 30
    assert verdict.counts["repeats on the topic"] >= 30
