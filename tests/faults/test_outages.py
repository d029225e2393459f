"""What clients and operators see while a server is away."""

from __future__ import annotations

import asyncio
from signal import SIGQUIT, SIGTERM

import pytest

from tests.faults import load
from tests.faults.cluster import Cluster
from tests.faults.faults import SIGTERM_SECONDS
from tests.faults.ledger import Outcome
from tests.faults.load import Account
from tests.faults.trial import trial

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
_OUTAGE_SECONDS = 8.0
_ANSWER_SECONDS = 6.0


async def test_ingest_goes_on_while_postgres_is_stopped(cluster: Cluster, writers: list[Account]) -> None:
    """Keys known before stay good, and everything accepted meanwhile is stored afterwards."""
    async with trial(cluster, writers, "without-postgres") as running:
        await cluster.kill("postgres", SIGQUIT)
        async with load.load(running.client, writers, seed=1, rate=200):
            await asyncio.sleep(_OUTAGE_SECONDS)
        assert running.ledger.answers().keys() == {"202", "400"}
        await cluster.start("postgres")
        verdict = await running.verdict()
    verdict.assert_good()
    assert verdict.counts["events accepted"] > 100 * _OUTAGE_SECONDS


async def test_without_kafka_clients_are_told_in_time_and_it_recovers_by_itself(cluster: Cluster, writers: list[Account]) -> None:
    async with trial(cluster, writers, "without-kafka") as running:
        await cluster.kill("kafka")
        refused = await asyncio.gather(*(running.client.post(account) for account in writers for _ in range(3)))
        refused += [await running.client.post(account) for account in writers]
        assert {request.answer for request in refused} == {"503"}
        assert all(request.retry_after and int(request.retry_after) > 0 for request in refused)
        assert max(request.seconds for request in refused) < _ANSWER_SECONDS
        await cluster.start("kafka")
        async with asyncio.timeout(15):
            while (await running.client.post(writers[0])).outcome is not Outcome.ACCEPTED:
                await asyncio.sleep(0.2)
        (await running.verdict()).assert_good()


async def test_sigterm_ends_a_worker_in_time_whatever_is_away(cluster: Cluster, writers: list[Account]) -> None:
    first, second, third = cluster.workers
    async with trial(cluster, writers, "sigterm") as running:
        async with load.load(running.client, writers, seed=2, rate=100):
            await cluster.kill("kafka")
            await cluster.kill(first, SIGTERM, SIGTERM_SECONDS)
            await cluster.start("kafka")
            await cluster.kill("postgres", SIGQUIT)
            cluster.kafka_links[third].hang()
            cluster.postgres_links[third].hang()
            await asyncio.gather(*(cluster.kill(name, SIGTERM, SIGTERM_SECONDS) for name in (second, third)))
            await cluster.start("postgres")
        (await running.verdict()).assert_good()
