"""Tails: clients resume by themselves and are told exactly what is stored, and the check that says so can fail."""

from __future__ import annotations

import random
from signal import SIGKILL, SIGTERM
from uuid import uuid4

import pytest

from schemas.topics import Region
from tests.faults import load
from tests.faults.checker import Verdict
from tests.faults.cluster import GATEWAY, Cluster
from tests.faults.customers import customer
from tests.faults.faults import Scene, freeze, restart
from tests.faults.tails import Listener, Told, check_listener
from tests.faults.trial import trial

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_clients_go_on_whatever_becomes_of_the_api(cluster: Cluster) -> None:
    """Killed, ended, frozen and without Kafka or Postgres, while events go on being stored: what waits comes when it is back."""
    told = await customer(cluster, Region.US, "tails-gateway")
    scene = Scene(cluster, GATEWAY, random.Random(1))
    async with trial(cluster, [], "tails-gateway", customers=[told]) as running:
        async with load.load(running.client, running.writers, seed=1, rate=100):
            for fault in (restart(SIGKILL), restart(SIGTERM), freeze(1.0, 3.0)):
                await fault(scene)
                await scene.pause(1.0, 2.0)
            cluster.kafka_links[GATEWAY].cut()
            await restart(SIGKILL)(Scene(cluster, "postgres", scene.rng))
            await scene.pause(1.0, 2.0)
        verdict = await running.verdict()
    verdict.assert_good()
    assert verdict.counts["tails interrupted"] > 0


def _judge(told: list[Told], stored: list[Told]) -> list[str]:
    listener = Listener(Region.US, "", str(uuid4()), told={"w": told})
    verdict = Verdict()
    check_listener(listener, {"w": stored}, verdict)
    return verdict.violations


async def test_the_check_finds_what_is_lost_doubled_or_out_of_order() -> None:
    stored = [(seq, str(uuid4())) for seq in range(1, 5)]
    first, second, third, fourth = stored
    assert _judge(stored, stored) == []
    assert "1 lost, 0 doubled, the first difference at 1" in _judge([first, third, fourth], stored)[0]
    assert "0 lost, 1 doubled, the first difference at 2" in _judge([first, second, second, third, fourth], stored)[0]
    assert "0 lost, 0 doubled, the first difference at 1" in _judge([first, third, second, fourth], stored)[0]
    assert "the first difference at 4" in _judge([*stored, (5, str(uuid4()))], stored)[0]
