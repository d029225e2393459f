"""A trial: clients of new workspaces, a ledger of what they were told, and the verdict over what became of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.faults import audit, checker, load, tails
from tests.faults.checker import Verdict
from tests.faults.cluster import SERVED, Cluster
from tests.faults.customers import Customer
from tests.faults.ledger import Ledger
from tests.faults.load import Account, Client
from tests.faults.management import Call, Manager
from tests.faults.standing import Starts, starts
from tests.faults.worker_logs import Logs


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial on a cluster at rest."""

    cluster: Cluster
    writers: Sequence[Account]
    client: Client
    logs: Logs
    begin: Starts
    managers: Sequence[Manager] = ()
    customers: Sequence[Customer] = ()
    calls: list[Call] = field(default_factory=list)
    """All management calls of the trial."""

    @property
    def ledger(self) -> Ledger:
        """What the clients were told."""
        return self.client.ledger

    async def verdict(self) -> Verdict:
        """Heal everything, wait until all is announced, check all of it. The load must have ended."""
        await self.cluster.heal()
        for customer in self.customers:
            customer.heal()
        workspaces = {region: [each.workspace_id for each in self.writers if each.region is region] for region in SERVED}
        for region in SERVED:
            workspaces[region] += await audit.workspaces(self.cluster, region, self.managers)
        hooks = {region: [hook for each in self.customers if each.region is region for hook in each.hooks] for region in SERVED}
        verdict = await checker.check(self.cluster, self.ledger, workspaces, self.begin, hooks)
        await tails.check(self.cluster, [listener for each in self.customers for listener in each.listeners], verdict)
        await audit.check(self.cluster, self.managers, self.calls, verdict)
        verdict.counts += self.logs.counts()
        for trouble in self.logs.troubles():
            verdict.blame(f"unexpected in a log: {trouble}")
        return verdict


@asynccontextmanager
async def trial(
    cluster: Cluster, writers: Sequence[Account], name: str, managers: Sequence[Manager] = (), customers: Sequence[Customer] = ()
) -> AsyncIterator[Trial]:
    """A trial whose ledger's markers begin with ``name``; the writers' keys are known to ingest from here on.

    The customers' workspaces are among the writers', and their tails are open.
    """
    writers = [*writers, *(account for each in customers for account in each.accounts)]
    listeners = [listener for each in customers for listener in each.listeners]
    ledger = Ledger(f"{name}-{time.time_ns()}")
    begin = await starts(cluster, SERVED)
    async with tails.listening(cluster.base_url, listeners), load.client(cluster.base_url, ledger) as client:
        await load.make_known(client, writers)
        yield Trial(cluster, writers, client, Logs(cluster), begin, managers, customers)
    cluster.receiver.forget()
