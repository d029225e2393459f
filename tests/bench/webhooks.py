"""Webhooks: deliveries a second of one dispatcher, with endpoints in trouble beside the others, and after many deliveries.

Each run is a backlog of events, announced while the sink rests and worked off when it starts. Only deliveries to the endpoints that are
well are counted, where they arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
import asyncpg

from ops.local.environment import Role
from ops.seed import Tenant
from tests.bench.backlog import feed
from tests.bench.bench import Bench
from tests.bench.claims import CLAIMED, fill_deliveries, seconds_a_claim
from tests.bench.helper import Helper, helper
from tests.bench.meter import Cost
from tests.bench.pipeline import DRAIN_SECONDS, REGION, NotDrained
from tests.bench.resting import WEBHOOKS, rest, wake
from tests.bench.stats import Percentiles, middle
from tests.bench.table import Row, cpu_row, milliseconds, rate
from tests.support.endpoints import Endpoint, bound_tenant, create_endpoint, delete_endpoint

WELL = 4
"""Workspaces whose endpoint is well; one more has the one in trouble."""
_PER_ENVELOPE = 20
_SLOWEST = 300
"""Deliveries a second below which a run is given up."""
_POLL_SECONDS = 0.05
_FLOOD = """
INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at)
SELECT $1, gen_random_uuid(), $2, $3, 1, e.id, 'EVENT', now() FROM generate_series(1, $4::integer), events e
WHERE e.workspace_id = $3 AND e.seq = 1
"""


@dataclass(frozen=True, slots=True)
class Delivering:
    """Deliveries a second to the endpoints that are well, between 10 % and 90 % of them. ``cost`` is that of ``deliveries``."""

    backlog: int
    rate: float
    deliveries: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The runs, in the order they were taken. ``claims`` are seconds a statement, at the start and after ``filled`` deliveries."""

    alone: Delivering
    hanging: Delivering
    flooded: Delivering
    again: Delivering
    """As the first, after ``filled`` deliveries."""
    due: int
    """Rows of the endpoint that was flooded."""
    filled: int
    claims: tuple[Percentiles, Percentiles]


class _Sample(NamedTuple):
    at: float
    told: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class _Customer:
    """A company with ``WELL`` endpoints that are well, and a last workspace that gets others, one after another."""

    tenant: Tenant
    session: aiohttp.ClientSession
    receiver: Helper
    port: int

    async def endpoint(self, workspace: int, way: str) -> Endpoint:
        """A new endpoint of that workspace, answered in that way."""
        url = f"http://127.0.0.1:{self.port}/{way}"
        return await create_endpoint(self.session, self.tenant, self.tenant.workspaces[workspace].id, url)

    async def told(self) -> int:
        """Deliveries that came to the endpoints that are well."""
        counts: dict[str, int] = await self.receiver.ask("counts")
        return counts.get("fast", 0)


async def webhooks(bench: Bench) -> Webhooks:
    """Take all runs. Raises ``NotDrained``."""
    plan = bench.plan
    async with _customer(bench) as customer:
        alone = await _run(bench, customer)
        hanging = await customer.endpoint(WELL, "hang")
        beside_hanging = await _run(bench, customer)
        await delete_endpoint(customer.session, customer.tenant, hanging)
        slow = await customer.endpoint(WELL, "slow")
        await _flood(bench, customer, slow)
        beside_flooded = await _run(bench, customer)
        await delete_endpoint(customer.session, customer.tenant, slow)
        await _nothing_due(bench)
        await rest(bench, WEBHOOKS)
        wells = [str(each.id) for each in customer.tenant.workspaces[:WELL]]
        before = await seconds_a_claim(bench, wells)
        bench.say(f"  filling in {plan.delivered:,} deliveries")
        await fill_deliveries(bench, wells, plan.delivered)
        after = await seconds_a_claim(bench, wells)
        return Webhooks(alone, beside_hanging, beside_flooded, await _run(bench, customer), plan.due, plan.delivered, (before, after))


@asynccontextmanager
async def _customer(bench: Bench) -> AsyncIterator[_Customer]:
    tenant = bound_tenant(bench.stack.settings(Role.ADMIN), REGION, "Webhooks", workspaces=WELL + 1)
    async with (
        helper("tests.bench.receiver", str(bench.receiver_port)) as receiver,
        aiohttp.ClientSession(bench.stack.base_url) as session,
    ):
        customer = _Customer(tenant, session, receiver, bench.receiver_port)
        for workspace in range(WELL):
            await customer.endpoint(workspace, "fast")
        yield customer
        await rest(bench, WEBHOOKS)


async def _run(bench: Bench, customer: _Customer) -> Delivering:
    """A backlog round all workspaces, worked off."""
    backlog = bench.plan.deliveries
    await rest(bench, WEBHOOKS)
    before = await customer.told()
    await feed(bench, backlog, _PER_ENVELOPE, customer.tenant)
    await bench.pipeline.drained()
    await wake(bench, WEBHOOKS)
    samples = await _samples(bench, customer, before + _well_share(backlog))
    bench.meter.note_memory()
    inner = samples[middle([sample.told for sample in samples])]
    first, last = inner[0], inner[-1]
    deliveries = last.told - first.told
    return Delivering(backlog, deliveries / (last.at - first.at), deliveries, last.cost.since(first.cost))


def _well_share(backlog: int) -> int:
    """How many of the events go to endpoints that are well: envelopes go round the workspaces in turn."""
    envelopes = [min(_PER_ENVELOPE, backlog - start) for start in range(0, backlog, _PER_ENVELOPE)]
    return sum(count for number, count in enumerate(envelopes) if number % (WELL + 1) < WELL)


async def _samples(bench: Bench, customer: _Customer, goal: int) -> list[_Sample]:
    receiver_before = customer.receiver.cpu_seconds()
    samples = [_Sample(time.monotonic(), await customer.told(), bench.meter.read())]
    deadline = time.monotonic() + DRAIN_SECONDS + (goal - samples[0].told) / _SLOWEST
    while samples[-1].told < goal:
        if time.monotonic() > deadline:
            raise NotDrained(f"{samples[-1].told:,} of {goal:,} deliveries were made in time")
        await asyncio.sleep(_POLL_SECONDS)
        told, spent = await customer.told(), customer.receiver.cpu_seconds() - receiver_before
        samples.append(_Sample(time.monotonic(), told, bench.meter.read().with_process("receiver", spent)))
    return samples


async def _nothing_due(bench: Bench) -> None:
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while await connection.fetchval("SELECT EXISTS (SELECT FROM webhook_due WHERE due_at < '9999-01-01T00:00:00Z')"):
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        await connection.close()


async def _flood(bench: Bench, customer: _Customer, endpoint: Endpoint) -> None:
    """Make that many deliveries due to it, all of the workspace's first event."""
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        workspace = customer.tenant.workspaces[WELL].id
        await connection.execute(_FLOOD, endpoint.id, customer.tenant.id, workspace, bench.plan.due)
        await connection.execute("ANALYZE webhook_due")
    finally:
        await connection.close()


def tell_webhooks(found: Webhooks) -> list[Row]:
    """The table's rows."""
    usual, (before, after) = found.alone.rate, found.claims
    first = f"{found.alone.backlog:,} events, {WELL} of {WELL + 1} for endpoints that are well; from 10 % to 90 %"
    filled = f"with {found.filled:,} deliveries behind it"
    return [
        Row("one dispatcher delivers", rate(usual), "≥ 1,000/s (aim 3,000)", first),
        cpu_row("one dispatcher delivers", found.alone.cost, found.alone.deliveries, "receiver"),
        Row("… beside an endpoint that hangs", rate(found.hanging.rate), "", _of(found.hanging, usual)),
        Row(f"… beside one to which {found.due:,} more are due", rate(found.flooded.rate), "", _of(found.flooded, usual)),
        Row(f"… {filled}", rate(found.again.rate), "", f"{_of(found.again, usual)}; they were filled in, not sent"),
        Row("a dispatcher's claim", milliseconds(before), "", f"of {CLAIMED} deliveries of each of {WELL} endpoints"),
        Row(f"a dispatcher's claim {filled}", milliseconds(after), "as before", "the same"),
    ]


def _of(run: Delivering, usual: float) -> str:
    return f"{run.rate / usual:.2f} of the rate alone"
