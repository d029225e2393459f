"""A connection breaks just when something is decided: the sender can't know whether it happened, and it happens once."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.cluster import GATEWAY, Cluster
from tests.faults.faults import COMMIT
from tests.faults.ledger import Outcome
from tests.faults.link import Fate, Link, Trap, Way
from tests.faults.load import Account, event
from tests.faults.trial import Trial, trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST], ids=lambda fate: fate.value),
]
_SECONDS = 10.0


async def _post_into(running: Trial, account: Account, links: list[Link], fate: Fate, pattern: bytes | None = None) -> None:
    """Post a batch and wait until a link has lost the first message that carries the pattern, or else the batch's marker."""
    request = running.ledger.sent(account.workspace_id, 5)
    found = pattern or request.markers[0].encode()
    traps = [link.set_trap(Trap(Way.TO_SERVER, found, fate)) for link in links]
    await running.client.send(account, request, [event(marker) for marker in request.markers])
    waiting = [asyncio.create_task(trap.sprung.wait()) for trap in traps]
    done, pending = await asyncio.wait(waiting, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    assert done, "the fault never fired"
    for link in links:
        link.heal()


async def test_a_worker_commits(cluster: Cluster, writers: list[Account], fate: Fate) -> None:
    async with trial(cluster, writers, "commit") as running:
        await _post_into(running, writers[0], [cluster.postgres_links[name] for name in cluster.workers], fate, COMMIT)
        (await running.verdict()).assert_good()


async def test_a_worker_announces(cluster: Cluster, writers: list[Account], fate: Fate) -> None:
    async with trial(cluster, writers, "announce") as running:
        await _post_into(running, writers[0], [cluster.kafka_links[name] for name in cluster.workers], fate)
        (await running.verdict()).assert_good()


async def test_ingest_publishes(cluster: Cluster, writers: list[Account], fate: Fate) -> None:
    """Kafka's own idempotence settles it, so that the client need not be told of it."""
    async with trial(cluster, writers, "publish") as running:
        await _post_into(running, writers[0], [cluster.kafka_links[GATEWAY]], fate)
        assert running.ledger.requests[-1].outcome is Outcome.ACCEPTED
        (await running.verdict()).assert_good()
