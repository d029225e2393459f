"""The live tail: how soon after its commit an event is with a thousand clients, and what five thousand of one process cost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import psutil
import psycopg

from ops.local.environment import Role
from ops.seed import Tenant
from ops.tenancy.registry import Registry
from ops.tenancy.terms import KeyTerms, random_entropy
from tests.bench.bench import Bench
from tests.bench.helper import Helper, helper
from tests.bench.load import CONNECTIONS, Poster
from tests.bench.meter import Cost
from tests.bench.pipeline import REGION
from tests.bench.posts import Lost
from tests.bench.stats import Percentiles, percentiles
from tests.bench.table import Row, cpu_row, milliseconds, rate
from tests.bench.visible import Sightings, watch_heads
from tests.bench.workload import request_files
from tests.support.stack import create_tenant

WORKSPACES = 8
FEW_RATE, MANY_RATE = 100.0, 20.0
"""Events a second: round the workspaces with a thousand clients, of one workspace with all clients there can be."""
_SAMPLED = 1_000
"""Clients whose every event is looked at."""
_PER_KEY = 20
"""Tails that a key may have open."""
_POLL_SECONDS = 0.1
_OPEN_SECONDS = 60.0
_SLOWEST = 2_000
"""Deliveries a second below which a burst is given up."""
_GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Told:
    """Clients that are told of what is posted at ``rate``: events a second to all of them, and seconds from a commit to a client."""

    clients: int
    rate: float
    told: float
    latency: Percentiles
    deliveries: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Tails:
    """A thousand clients; and as many as one process has to hold, with the bytes an idle one of them takes."""

    few: Told
    many: Told
    bytes_each: float


async def tails(bench: Bench) -> Tails:
    """Measure both. Raises ``LoadError``, ``NotDrained`` and ``Lost``."""
    plan, admin = bench.plan, bench.stack.settings(Role.ADMIN)
    tenant = create_tenant(admin, REGION, "Tails", plan="ENTERPRISE", workspaces=WORKSPACES)
    keys = _keys(bench, tenant, math.ceil(plan.tails / WORKSPACES / _PER_KEY))
    async with listening(bench, keys, plan.tails) as listener:
        few = await _told_at(bench, listener, tenant, plan.tails, FEW_RATE)
    tenant = create_tenant(admin, REGION, "Crowd", plan="ENTERPRISE")
    keys, before = _keys(bench, tenant, math.ceil(plan.crowd / _PER_KEY)), _resident(bench)
    async with listening(bench, keys, plan.crowd) as listener:
        bytes_each = (_resident(bench) - before) / plan.crowd
        many = await _told_at(bench, listener, tenant, plan.crowd, MANY_RATE)
    bench.meter.note_memory()
    return Tails(few, many, bytes_each)


async def _told_at(bench: Bench, listener: Helper, tenant: Tenant, clients: int, rate: float) -> Told:
    """Post at that rate to the tenant's workspaces, which the clients follow in turn."""
    sightings, workspaces = Sightings(), [str(workspace.id) for workspace in tenant.workspaces]
    before, spent = bench.meter.read(), listener.cpu_seconds()
    watching = asyncio.create_task(watch_heads(bench.stack.settings(Role.AUDITOR).database_url(REGION), sightings))
    try:
        with request_files(tenant, 1) as requests:
            _, answers = await asyncio.to_thread(Poster().post, bench.port, requests, bench.plan.visible_seconds, CONNECTIONS, rate)
        await bench.pipeline.drained()
        counts = await _told(listener, len(answers) * clients // len(workspaces))
        await _all_seen(sightings, workspaces, len(answers))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    cost = bench.meter.read().since(before).with_process("clients", listener.cpu_seconds() - spent)
    delays = list(_delays(await _seen(listener), workspaces, sightings))
    told = counts["told"] / (counts["last"] - counts["first"]) * 1e9
    return Told(clients, rate, told, percentiles(delays), counts["told"], cost)


@asynccontextmanager
async def listening(bench: Bench, keys: Sequence[str], clients: int) -> AsyncIterator[Helper]:
    """That many clients, all connected, their keys in turn. Raises ``Lost`` when not all can be."""
    with TemporaryDirectory(prefix="hyrelog-bench-") as directory:
        file = Path(directory) / "keys"
        file.write_text("\n".join(keys))
        async with helper("tests.bench.listener", str(bench.port), str(file)) as listener:
            counts = await listener.ask(f"open {clients}")
            async with asyncio.timeout(_OPEN_SECONDS):
                while counts["asked"] < clients or counts["waiting"]:
                    await asyncio.sleep(_POLL_SECONDS)
                    counts = await listener.ask("counts")
            if counts["open"] < clients:
                raise Lost(f"{clients - counts['open']:,} of {clients:,} tails were refused")
            yield listener


def _keys(bench: Bench, tenant: Tenant, each: int) -> list[str]:
    """New keys, so many for each workspace, the workspaces in turn."""
    settings = bench.stack.settings(Role.ADMIN)
    secret = settings.secrets("api_key_secret")[0]
    with psycopg.connect(settings.database_url(REGION), cursor_factory=psycopg.RawCursor) as connection:
        registry = Registry(connection, REGION, secret, entropy=random_entropy, record=lambda _entry, _company: None)
        return [registry.add_key(tenant.id, workspace.id, KeyTerms("Tail")).text for _ in range(each) for workspace in tenant.workspaces]


async def _all_seen(sightings: Sightings, workspaces: Sequence[str], events: int) -> None:
    """Wait until so many events of these workspaces were seen in Postgres."""
    async with asyncio.timeout(_OPEN_SECONDS):
        while sum(sightings.heads[each][-1][0] for each in workspaces if each in sightings.heads) < events:
            await asyncio.sleep(_POLL_SECONDS)


async def _told(listener: Helper, events: int) -> Any:
    """Wait until all clients together were told so many events. Raises ``Lost``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _OPEN_SECONDS + events / _SLOWEST
    while (counts := await listener.ask("counts"))["told"] < events:
        if counts["open"] < counts["asked"]:
            raise Lost(f"{counts['asked'] - counts['open']:,} of {counts['asked']:,} clients were cut off")
        if loop.time() > deadline:
            raise Lost(f"clients were told {counts['told']:,} of {events:,} events in time")
        await asyncio.sleep(_POLL_SECONDS)
    return counts


async def _seen(listener: Helper) -> list[tuple[int, list[int]]]:
    with TemporaryDirectory(prefix="hyrelog-bench-") as directory:
        file = Path(directory) / "seen"
        await listener.ask(f"save {_SAMPLED} {file}")
        seen: list[tuple[int, list[int]]] = orjson.loads(file.read_bytes())
    return seen


def _delays(seen: Sequence[tuple[int, list[int]]], workspaces: Sequence[str], sightings: Sightings) -> Iterator[float]:
    """Of each event to each client, in seconds. Keys are of the workspaces in turn. Raises ``Lost`` for an event that was not told."""
    for key, pieces in seen:
        reached: int | None = None
        for at, last, count in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            first = last - count + 1
            if reached is not None and first != reached + 1:
                raise Lost(f"a client was told of seq {first} after {reached}")
            reached = last
            for seq in range(first, last + 1):
                yield at / 1e9 - sightings.persisted_at(workspaces[key % len(workspaces)], seq)


def _resident(bench: Bench) -> int:
    pid = bench.stack.parts.pid(_GATEWAY)
    assert pid is not None
    return int(psutil.Process(pid).memory_info().rss)


def tell_tails(found: Tails) -> list[Row]:
    """The table's rows."""
    held = f"{found.bytes_each / 1024:.1f} KiB each, idle"
    return [
        *_tell(found.few, f"events of {WORKSPACES} workspaces"),
        Row("tails held by one process", f"{found.many.clients:,}", "≥ 5,000", held),
        *_tell(found.many, "events of the one workspace that all of them follow"),
    ]


def _tell(told: Told, whose: str) -> list[Row]:
    name = f"{told.clients:,} tails"
    detail = f"{told.rate:.0f}/s {whose}; commits seen by a poll every 10 ms"
    return [
        Row(f"commit → client, {name}", milliseconds(told.latency), "p99 ≤ 300 ms" if told.clients <= _SAMPLED else "", detail),
        Row(f"told to {name}", rate(told.told), "aim 40,000/s" if told.clients > _SAMPLED else "", f"{told.deliveries:,} in all"),
        cpu_row(f"to a client, {name}", told.cost, told.deliveries, "clients"),
    ]
