"""A worker that freezes for good at the worst moments holds back nobody (design.md, "Frozen workers")."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from schemas.topics import Region
from tests.faults import load
from tests.faults.cluster import Cluster
from tests.faults.faults import COMMIT, COPIED, COPY, freezer
from tests.faults.link import Trap, Way
from tests.faults.load import Account
from tests.faults.standing import drained, superuser
from tests.faults.trial import trial

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
_FREEZE_SECONDS = 15.0
_LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'streams_local' AND xact_start < now() - interval '10 s'"


async def _first(traps: dict[str, Trap]) -> str:
    waiting = {asyncio.create_task(trap.sprung.wait(), name=name) for name, trap in traps.items()}
    done, pending = await asyncio.wait(waiting, timeout=_FREEZE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return next(iter(done)).get_name()


@pytest.mark.parametrize(
    ("way", "pattern"),
    [
        pytest.param(Way.TO_SERVER, COPY, id="inside COPY"),
        pytest.param(Way.TO_CLIENT, COPIED, id="inside the transaction"),
        pytest.param(Way.TO_SERVER, COMMIT, id="between COMMIT and announcing"),
    ],
)
async def test_others_take_over_from_a_frozen_worker(cluster: Cluster, writers: list[Account], way: Way, pattern: bytes) -> None:
    """Its row lock, its half-sent rows and its open transaction are ended by whoever comes next; it is never continued."""
    async with trial(cluster, writers, "frozen") as running:
        await drained(cluster, [Region.US])
        pids = {name: cluster.parts.pid(name) or 0 for name in cluster.workers}
        traps = {name: cluster.postgres_links[name].set_trap(freezer(pids[name], way, pattern)) for name in cluster.workers}
        await running.client.post(writers[0], 5)
        frozen = await _first(traps)
        for name in cluster.workers:
            cluster.postgres_links[name].heal()
        async with load.load(running.client, writers, seed=3, rate=100):
            await asyncio.sleep(1)
        took, missing = await drained(cluster, [Region.US])
        assert not missing, f"after {took:.0f} s"
        assert psutil.Process(pids[frozen]).status() == psutil.STATUS_STOPPED
        async with superuser(cluster, Region.US) as connection:
            assert await connection.fetchval(_LOCKED) == 0
        await cluster.kill(frozen)
        verdict = await running.verdict()
    verdict.assert_good()
    if pattern is COPY:  # an idle transaction may also be ended by its time-out, a COPY is not idle
        assert verdict.counts["blockers terminated"] >= 1
