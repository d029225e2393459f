"""Webhooks: each event delivered and each attempt recorded, whoever dies or freezes, and the check that says so can fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from signal import SIGCONT, SIGQUIT, SIGSTOP, SIGTERM
from uuid import uuid4

import pytest

from ops.faults import SINK_POINTS, WEBHOOK_POINTS
from schemas.event import StoredEvent
from schemas.topics import Region
from schemas.webhooks import delivery_id
from tests.faults import load
from tests.faults.checker import Verdict
from tests.faults.cluster import LEASE_SECONDS, WEBHOOKS, Cluster
from tests.faults.customers import customer
from tests.faults.faults import Scene, crash
from tests.faults.hooks import Arrival, Attempt, check_hook
from tests.faults.trial import trial
from tests.support.chains import Chain

pytestmark = pytest.mark.asyncio(loop_scope="session")
_DISPATCHER_SECONDS = 17.0
"""A dispatcher told to end has ended by then, whatever is away: five seconds are for the requests under way."""


@pytest.mark.parametrize("points", [tuple(point for point in SINK_POINTS if point != "sink_in_refill"), WEBHOOK_POINTS])
async def test_every_crash_point_under_load(cluster: Cluster, points: Sequence[str]) -> None:
    """Two at a time, so that most crashes meet the other one's take-over."""
    told = await customer(cluster, Region.US, "webhooks-crash")

    async def die(name: str, own: Sequence[str]) -> None:
        for point in own:
            await crash(point)(Scene(cluster, name, random.Random(point)))

    async with trial(cluster, [], "webhooks-crash", customers=[told]) as running:
        async with load.load(running.client, running.writers, seed=1, rate=100):
            await asyncio.gather(*(die(name, points[index::2]) for index, name in enumerate(WEBHOOKS)))
        (await running.verdict()).assert_good()


async def test_a_dispatcher_that_wakes_up_after_its_leases_harms_nothing(cluster: Cluster) -> None:
    """The other one has recorded its attempts as interrupted and made its deliveries."""
    told = await customer(cluster, Region.US, "webhooks-frozen")
    async with trial(cluster, [], "webhooks-frozen", customers=[told]) as running:
        async with load.load(running.client, running.writers, seed=2, rate=100):
            for name in WEBHOOKS:
                await cluster.signal(name, SIGSTOP)
                await asyncio.sleep(LEASE_SECONDS + 2.0)
                await cluster.signal(name, SIGCONT)
        verdict = await running.verdict()
    verdict.assert_good()
    assert verdict.counts["webhook attempts interrupted"] > 0


async def test_sigterm_ends_a_dispatcher_in_time_whatever_is_away(cluster: Cluster) -> None:
    first, second = WEBHOOKS
    told = await customer(cluster, Region.US, "webhooks-sigterm")
    async with trial(cluster, [], "webhooks-sigterm", customers=[told]) as running:
        async with load.load(running.client, running.writers, seed=3, rate=50):
            await cluster.kill(first, SIGTERM, _DISPATCHER_SECONDS)
            await cluster.start(first)
            await cluster.kill("postgres", SIGQUIT)
            cluster.kafka_links[second].hang()
            cluster.postgres_links[second].hang()
            await asyncio.gather(*(cluster.kill(name, SIGTERM, _DISPATCHER_SECONDS) for name in WEBHOOKS))
            await cluster.start("postgres")
        (await running.verdict()).assert_good()


_WEBHOOK = str(uuid4())


def _arrival(event: StoredEvent, number: int = 1, status: int = 204) -> Arrival:
    return Arrival(delivery_id(_WEBHOOK, event.id, event.received_at), number, event.id, event.seq, is_genuine=True, status=status)


def _judge(events: list[StoredEvent], arrivals: list[Arrival], **attempts: list[Attempt]) -> list[str]:
    """``attempts`` are of the event of that number, e1 and so on; of any other, one that went well."""
    recorded = {_arrival(event).delivery_id: attempts.get(f"e{event.seq}", [Attempt(1, "SUCCEEDED", None)]) for event in events}
    verdict = Verdict()
    check_hook(_WEBHOOK, events, arrivals, recorded, verdict)
    return verdict.violations


async def test_the_check_finds_what_is_missing_foreign_forged_or_not_recorded() -> None:
    chain = Chain(str(uuid4()), str(uuid4()))
    events = chain.events(3)
    first, second, third = arrivals = [_arrival(event) for event in events]
    assert _judge(events, [*arrivals, first]) == []
    assert "not delivered" in _judge(events, arrivals[:2])[0]
    assert "not delivered" in _judge(events, [first, second, replace(third, status=503)])[0]
    assert "of no event" in _judge(events[:2], arrivals)[0]
    assert "tells of event" in _judge(events, [first, second, replace(third, event_id=first.event_id)])[0]
    assert "not signed" in _judge(events, [first, second, replace(third, is_genuine=False)])[0]
    assert "not recorded" in _judge(events, [*arrivals, replace(first, attempt=2)])[0]


async def test_the_check_follows_each_delivery_to_its_end() -> None:
    (event,) = Chain(str(uuid4()), str(uuid4())).events(1)
    interrupted, well = Attempt(1, "RETRYING", "INTERRUPTED"), Attempt(2, "SUCCEEDED", None)
    arrived = [_arrival(event), _arrival(event, 2)]
    assert _judge([event], arrived, e1=[interrupted, well]) == []
    assert "has attempts [1, 3]" in _judge([event], arrived[:1], e1=[interrupted, well._replace(number=3)])[0]
    assert "has attempts [1, 2, 2]" in _judge([event], arrived, e1=[interrupted, well, well])[0]
    assert "went RETRYING" in _judge([event], arrived[:1], e1=[interrupted])[0]
    assert "went SUCCEEDED, SUCCEEDED" in _judge([event], arrived, e1=[well._replace(number=1), well])[0]
