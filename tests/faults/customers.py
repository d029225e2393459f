"""Customers who want to be told: companies with webhooks, and tails open with a workspace's key and with the company's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import aiohttp

from ops.clock import SystemClock
from ops.kafka import partition_of
from ops.local.environment import Role
from ops.seed import Tenant, Workspace
from schemas.event import format_time
from schemas.topics import Region
from tests.faults.hooks import Hook
from tests.faults.load import Account, accounts
from tests.faults.tails import Listener
from tests.support.endpoints import bound_tenant, create_endpoint

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster

_MORE = 8
"""Workspaces made for each partition, so that there is one in each; if not, another company is made."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A company whose workspaces have an endpoint and a tail each."""

    region: Region
    accounts: Sequence[Account]
    hooks: Sequence[Hook]
    listeners: Sequence[Listener]

    def heal(self) -> None:
        """From now on all endpoints answer well."""
        for hook in self.hooks:
            hook.is_well = True


async def customer(cluster: Cluster, region: Region, seed: str) -> Customer:
    """A new company with a workspace in each partition, so that every sink has work. ``seed`` is of its endpoints' moods."""
    since = format_time(SystemClock().micros())
    tenant = _spread(cluster, region, seed)
    hooks = []
    async with aiohttp.ClientSession(cluster.base_url, trust_env=False) as session:
        for number, workspace in enumerate(tenant.workspaces):
            path = f"/{workspace.id}"
            endpoint = await create_endpoint(session, tenant, workspace.id, cluster.receiver.url(path))
            hook = Hook(endpoint, random.Random(f"{seed}-{number}"))
            cluster.receiver.answers[path] = hook.answer
            hooks.append(hook)
    own = accounts(tenant)
    company = Listener(region, tenant.key or "", str(tenant.id), since=since)  # its audit has told of the endpoints already
    return Customer(region, own, hooks, [company, *(Listener(region, each.key, each.company_id, each.workspace_id) for each in own)])


def _spread(cluster: Cluster, region: Region, seed: str) -> Tenant:
    """A new company, of which one workspace of each partition is told."""
    settings = cluster.settings(Role.ADMIN)
    found: dict[int, Workspace] = {}
    while len(found) < settings.topic_partitions:
        tenant = bound_tenant(settings, region, f"Customer {seed}", workspaces=_MORE * settings.topic_partitions)
        found = {partition_of(str(each.id), settings.topic_partitions): each for each in tenant.workspaces}
    return replace(tenant, workspaces=tuple(found[partition] for partition in sorted(found)))
