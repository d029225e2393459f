"""Audit entries on their way from the outbox into the chain: each exactly once, in order, whoever dies or freezes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from signal import SIGCONT, SIGQUIT

import psutil
import pytest

from ops import audit
from ops.faults import RELAY_POINTS
from ops.local.environment import Role, inherited, service_environ
from schemas.audit import Entry, Outcome
from schemas.topics import Region
from tests.faults import management
from tests.faults.audit import workspaces
from tests.faults.cluster import RELAYS, Cluster
from tests.faults.faults import COMMIT, deaths, freezer, sprung
from tests.faults.link import Fate, Trap, Way
from tests.faults.management import Manager
from tests.faults.standing import drained, superuser
from tests.faults.trial import Trial, trial

pytestmark = pytest.mark.asyncio(loop_scope="session")
_ENTRIES = 300
"""More than a batch."""
_TOLD = "SELECT id FROM events WHERE workspace_id = $1 ORDER BY seq"
_WAITING = "SELECT count(*) FROM audit_outbox"


@pytest.fixture
async def manager(cluster: Cluster) -> Manager:
    """A new company."""
    (found,) = await management.managers(cluster, Region.US, 1)
    return found


async def _write(cluster: Cluster, manager: Manager, count: int = _ENTRIES) -> list[str]:
    """That many entries, each of a transaction of its own; their event ids in order."""
    async with superuser(cluster, manager.region) as connection:
        made = []
        for _ in range(count):
            entry = Entry("test.act", Outcome.SUCCESS, {"type": "test"}, os.urandom(16).hex())
            now = time.time_ns() // 1000
            made.append(await audit.write(connection, entry, region=manager.region, company_id=manager.company_id, now=now))
        return made


async def _told(cluster: Cluster, manager: Manager) -> list[str]:
    """The event ids in the company's audit workspace, in the chain's order."""
    (workspace,) = await workspaces(cluster, manager.region, [manager])
    async with superuser(cluster, manager.region) as connection:
        rows = await connection.fetch(_TOLD, workspace)
    return [str(row["id"]) for row in rows]


async def _waiting(cluster: Cluster) -> int:
    async with superuser(cluster, Region.US) as connection:
        count: int = await connection.fetchval(_WAITING)
        return count


async def _stop_relays(cluster: Cluster, names: Sequence[str] = RELAYS) -> None:
    await asyncio.gather(*(asyncio.to_thread(cluster.parts.stop, name) for name in names))


async def _judged(cluster: Cluster, running: Trial, manager: Manager, made: list[str]) -> None:
    (await running.verdict()).assert_good()
    assert await _told(cluster, manager) == made
    assert await _waiting(cluster) == 0


@pytest.mark.parametrize("point", RELAY_POINTS)
async def test_a_relay_dies_and_every_entry_is_told_once(cluster: Cluster, manager: Manager, point: str) -> None:
    """Before Kafka was asked, after it acknowledged, before the rows are gone and after: what is sent again changes nothing."""
    name = RELAYS[0]
    async with trial(cluster, [], point, [manager]) as running:
        await _stop_relays(cluster)
        made = await _write(cluster, manager)
        before = deaths(cluster, name, point)
        await cluster.start(name, ready=False, environ={"FAULT_POINTS": f"{point}:1.0:1"})
        await cluster.ended(name)
        assert deaths(cluster, name, point) == before + 1
        await _judged(cluster, running, manager, made)


async def test_another_relay_takes_over_from_a_frozen_one_in_order(cluster: Cluster, manager: Manager) -> None:
    """PostgreSQL ends the frozen one's transaction, and with it its turn. What it does when it wakes up changes nothing."""
    first, second = RELAYS
    async with trial(cluster, [], "frozen-relay", [manager]) as running:
        await _stop_relays(cluster, [second])
        pid = cluster.parts.pid(first)
        assert pid
        trap = cluster.postgres_links[first].set_trap(freezer(pid, Way.TO_SERVER, COMMIT))
        made = await _write(cluster, manager)
        await sprung(trap, "COMMIT")
        await cluster.start(second)
        took, missing = await drained(cluster, [Region.US])
        assert not missing, f"after {took:.0f} s"
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
        assert await _told(cluster, manager) == made
        await cluster.signal(first, SIGCONT)
        made += await _write(cluster, manager)
        await _judged(cluster, running, manager, made)


async def test_entries_wait_for_kafka(cluster: Cluster, manager: Manager) -> None:
    """Actions go on meanwhile."""
    async with trial(cluster, [], "relay-without-kafka", [manager]) as running:
        await cluster.kill("kafka")
        made = await _write(cluster, manager)
        assert await _waiting(cluster) == len(made)
        await cluster.start("kafka")
        await _judged(cluster, running, manager, made)


async def test_postgres_stops_at_once_in_the_middle(cluster: Cluster, manager: Manager) -> None:
    """Kafka has acknowledged, and PostgreSQL never hears of it."""
    first = RELAYS[0]
    async with trial(cluster, [], "relay-without-postgres", [manager]) as running:
        await _stop_relays(cluster)
        pid = cluster.parts.pid("postgres")
        assert pid
        stop = Trap(Way.TO_SERVER, COMMIT, Fate.REQUEST_LOST, act=lambda: psutil.Process(pid).send_signal(SIGQUIT))
        made = await _write(cluster, manager)
        await cluster.start(first, ready=False)
        await sprung(cluster.postgres_links[first].set_trap(stop), "COMMIT")
        await cluster.ended("postgres")
        await cluster.start("postgres")
        await _judged(cluster, running, manager, made)


async def test_the_audit_can_be_verified(cluster: Cluster, manager: Manager) -> None:
    async with trial(cluster, [], "verified", [manager]) as running:
        await _judged(cluster, running, manager, await _write(cluster, manager, 5))
    (workspace,) = await workspaces(cluster, manager.region, [manager])
    environ = inherited() | service_environ(cluster.state, Role.AUDITOR)
    command = [sys.executable, "-m", "ops", "verify", "--region", manager.region, "--workspace", workspace]
    done = await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{manager.region}: 5 events of 1 workspaces")
