"""The ingest topic is deleted and made again under the stored positions."""

from __future__ import annotations

import asyncio

import pytest

from ops.local.environment import Role
from ops.unpark import release
from schemas.topics import Region
from tests.faults import load, topic
from tests.faults.cluster import Cluster
from tests.faults.ledger import Outcome
from tests.faults.load import Account
from tests.faults.standing import drained, standing
from tests.faults.trial import Trial, trial

pytestmark = pytest.mark.asyncio(loop_scope="session")
_PARK_SECONDS = 30.0


async def test_it_parks_and_loses_nothing_until_an_operator_decides(cluster: Cluster, writers: list[Account]) -> None:
    """No position may be taken for one of another log. One region's trouble stays its own. After the decision all goes on."""
    parted = load.everywhere(cluster, Region.EU)
    async with trial(cluster, [*parted, *writers], "anew") as running:
        async with load.load(running.client, parted, seed=4, rate=100):
            await asyncio.sleep(1)
        await drained(cluster, [Region.EU])
        await topic.make_anew(cluster, Region.EU)
        await _closed(running, parted)
        reasons = {row["parked_reason"].split(":")[0] for row in (await standing(cluster, Region.EU)).values()}
        assert reasons <= {"TOPIC_RECREATED", "LOG_BEHIND"}  # the latter by who saw the new log before its id
        assert (await running.client.post(writers[0])).outcome is Outcome.ACCEPTED
        assert (await drained(cluster, [Region.US]))[1] == []
        for partition in await standing(cluster, Region.EU):
            await release(cluster.settings(Role.OWNER), Region.EU, partition, None, "the topic was made anew by a test")
        await _open(running, parted)
        (await running.verdict()).assert_good()


async def _closed(running: Trial, parted: list[Account]) -> None:
    """Wait until ingest takes nothing for any partition. What it took meanwhile lies in the new log."""
    async with asyncio.timeout(_PARK_SECONDS):
        for account in parted:
            while (await running.client.post(account)).answer != "503" or not await _is_parked(running, account):
                await asyncio.sleep(0.2)


async def _is_parked(running: Trial, account: Account) -> bool:
    rows = await standing(running.cluster, account.region)
    return all(row["parked_reason"] for row in rows.values())


async def _open(running: Trial, parted: list[Account]) -> None:
    async with asyncio.timeout(_PARK_SECONDS):
        for account in parted:
            while (await running.client.post(account)).outcome is not Outcome.ACCEPTED:
                await asyncio.sleep(0.2)
