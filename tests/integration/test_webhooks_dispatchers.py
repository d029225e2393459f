"""Several dispatchers: what becomes of deliveries when one dies, stops or can't reach PostgreSQL; and nobody waits for somebody else."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby
from time import monotonic

import pytest
from aiohttp import web

from ops.local.environment import Role, service_environ
from ops.settings import Settings
from schemas.webhooks import NOTICES
from sinks.webhooks import claims, dispatcher
from tests.support.delivering import FAST, Scene, dispatching, reconnected, scene, value
from tests.support.managing import Database
from tests.support.receiver import Received, hang
from tests.support.sinking import REGION, persist, until
from tests.support.stack import LocalStack

LEASE = 2.0
FOR_EVER = 3600.0
PATIENT = {"webhook_lease_seconds": 60.0, "webhook_timeout_seconds": 30.0}
"""However busy the machine is, nothing ends by itself."""


@pytest.fixture
async def stage(servers: LocalStack, superuser: Database) -> AsyncIterator[Scene]:
    tuning = {"webhook_retry_seconds": FAST, "webhook_lease_seconds": LEASE, "webhook_timeout_seconds": 1.0}
    async with scene(servers, superuser, **tuning) as opened:
        yield opened


@pytest.fixture
def settings(stage: Scene) -> Settings:
    return stage.settings


@asynccontextmanager
async def process(stage: Scene) -> AsyncIterator[asyncio.subprocess.Process]:
    """The sink and its dispatcher as an operator starts them."""
    own = {
        "EGRESS_ALLOW": f"127.0.0.1/32:{stage.receiver.port}",
        "REGIONS": REGION.value,
        "WEBHOOK_LEASE_SECONDS": "16",  # so that nothing times out before the process is killed, on a busy machine neither
        "WEBHOOK_TIMEOUT_SECONDS": "15",
        "WEBHOOK_RETRY_SECONDS": ",".join(map(str, FAST)),
        "SINKS_SESSION_TIMEOUT_SECONDS": "6",
    }
    environ = {**os.environ, **service_environ(stage.servers.state, Role.WEBHOOKS), **own}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sinks", "webhooks", env=environ, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_deliveries_of_a_killed_dispatcher_are_made_by_another(stage: Scene, settings: Settings) -> None:
    """With SIGKILL in mid-flight: each is made at least once and under one id, and each attempt is on record, the cut ones too."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    gate = asyncio.Event()

    async def wait(_received: Received) -> web.Response:
        await gate.wait()
        return web.Response(status=204)

    async def is_taken() -> bool:
        return await stage.due(hook) + len(await stage.attempts(hook)) == 320

    async with process(stage) as victim:
        await stage.tell(chain, chain.events(20))
        await stage.over(hook, 20)
        stage.receiver.answers["/hook"] = wait
        events = await stage.tell(chain, chain.events(300))
        await stage.receiver.until("/hook", 21)
        await until(is_taken)
        victim.kill()
        await victim.wait()
    gate.set()
    async with dispatching(settings.model_copy(update=PATIENT), sink=False) as metrics:
        made = await stage.over(hook, 320)
    assert value(metrics, "hyrelog_webhook_interrupted_attempts_total") > 0
    got = stage.receiver.at("/hook")
    assert {each.data["seq"] for each in got} == set(range(1, events[-1].seq + 1))
    assert len({each.id for each in got}) == 320
    by_delivery = {str(key): [*rows] for key, rows in groupby(made, lambda row: row["delivery_id"])}
    assert by_delivery.keys() == {each.id for each in got}
    for rows in by_delivery.values():
        assert [row["attempt"] for row in rows] == [*range(1, len(rows) + 1)]
        assert [row["error"] for row in rows] == ["INTERRUPTED"] * (len(rows) - 1) + [None]
        assert rows[-1]["state"] == "SUCCEEDED"
    assert {each.id for each in got if each.attempt > 1} <= {key for key, rows in by_delivery.items() if len(rows) > 1}


async def test_a_dispatcher_that_rests_is_woken_by_a_notice(stage: Scene, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what others make due: a test, a replay."""
    monkeypatch.setattr(claims, "_QUIET_PAUSE", FOR_EVER)
    monkeypatch.setattr(dispatcher, "_REPLAY_QUIET_SECONDS", FOR_EVER)
    chain = stage.chain()
    (event,) = await persist(stage.database, chain, chain.events(1))
    hook = await stage.hook(chain, "/hook")
    async with dispatching(settings.model_copy(update=PATIENT), sink=False):
        await until(lambda: _has_listeners(stage.database, 1))
        await stage.test(chain, hook)
        await stage.over(hook, 1)
        await stage.replay(chain, hook, from_seq=event.seq, to_seq=event.seq)
        await stage.over(hook, 2)
        await stage.make_due(hook, [event])
        await stage.over(hook, 3)


async def test_who_has_more_due_than_it_takes_wakes_the_others(stage: Scene, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one that rests would leave it alone with a flood."""
    monkeypatch.setattr(claims, "_QUIET_PAUSE", FOR_EVER)
    chain = stage.chain()
    events = await persist(stage.database, chain, chain.events(1000))
    hook = await stage.hook(chain, "/hook")
    stage.receiver.answers["/hook"] = hang
    ours, noticed = stage.database.get_server_pid(), asyncio.Event()

    def notice(_connection: object, pid: int, _channel: object, _payload: object) -> None:
        if pid != ours:
            noticed.set()

    await stage.database.add_listener(NOTICES, notice)
    async with dispatching(settings.model_copy(update=PATIENT), sink=False), asyncio.timeout(30):
        await stage.make_due(hook, events)
        await noticed.wait()
    await stage.database.remove_listener(NOTICES, notice)


async def _has_listeners(database: Database, count: int) -> bool:
    listening: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hyrelog-webhooks-dispatcher' AND query LIKE 'LISTEN %'"
    )
    return listening == count


async def test_two_dispatchers_make_each_delivery_once(stage: Scene, settings: Settings) -> None:
    """As long as no lease runs out: from memory and from the table, at the same time."""
    chains = [stage.chain() for _ in range(3)]
    old = [await persist(stage.database, chain, chain.events(400)) for chain in chains]
    hooks = [await stage.hook(chain, f"/{number}") for number, chain in enumerate(chains)]
    patient = settings.model_copy(update=PATIENT)
    async with AsyncExitStack() as exits:
        for sink in (True, False):
            await exits.enter_async_context(dispatching(patient, sink=sink))
        for hook, chain, events in zip(hooks, chains, old, strict=True):
            await stage.make_due(hook, events)
            await stage.tell(chain, chain.events(400))
        for hook in hooks:
            made = await stage.over(hook, 800)
            assert {row["state"] for row in made} == {"SUCCEEDED"}
    times = Counter(each.id for each in stage.receiver.received)
    assert (len(times), set(times.values())) == (2400, {1})


async def test_a_dispatcher_that_is_told_to_stop_gives_back_what_it_has_not_begun(stage: Scene, settings: Settings) -> None:
    """Requests under way may end; one that does not is cut off, and goes on as the next attempt, at once."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    stage.receiver.answers["/hook"] = hang
    stopped = settings.model_copy(update={"webhook_lease_seconds": 120.0, "webhook_timeout_seconds": 60.0})
    async with dispatching(stopped):
        await stage.tell(chain, chain.events(50))
        await stage.receiver.until("/hook", 1)
        began = monotonic()
    assert monotonic() - began < 8
    rows = await stage.database.fetch(
        "SELECT claimed, attempt, failures, due_at <= now() AS due FROM webhook_due WHERE webhook_id = $1", hook.id
    )
    assert Counter(tuple(row) for row in rows) == {(False, 1, 0, True): 49, (False, 2, 0, True): 1}
    (made,) = await stage.attempts(hook)
    assert (made["state"], made["error"], made["attempt"]) == ("RETRYING", "INTERRUPTED", 1)


async def test_a_delivery_that_each_dispatcher_dies_with_ends(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.make_due(hook, await persist(stage.database, chain, chain.events(1)))
    await stage.database.execute("UPDATE webhook_due SET claimed = true, attempt = 20 WHERE webhook_id = $1", hook.id)
    async with dispatching(settings, sink=False):
        (made,) = await stage.over(hook, 1)
    assert (made["attempt"], made["state"], made["error"]) == (20, "FAILED", "INTERRUPTED")
    assert stage.receiver.at("/hook") == []


async def test_results_are_kept_while_postgres_is_away(stage: Scene, settings: Settings) -> None:
    """What was sent is not sent again for that, if it was not away for longer than a lease."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    gate = asyncio.Event()

    async def wait(_received: Received) -> web.Response:
        await gate.wait()
        return web.Response(status=204)

    stage.receiver.answers["/hook"] = wait
    parts = stage.servers.parts
    patient = settings.model_copy(update={"webhook_lease_seconds": 120.0, "webhook_timeout_seconds": 30.0})
    async with dispatching(patient) as metrics:
        await stage.tell(chain, chain.events(3))
        await stage.receiver.until("/hook", 1)
        await asyncio.to_thread(parts.kill, "postgres")
        gate.set()

        async def is_noticed() -> bool:
            return any(
                sample.value
                for family in metrics.registry.collect()
                for sample in family.samples
                if sample.name == "hyrelog_webhook_retries_total"
            )

        await until(is_noticed)
        await asyncio.to_thread(parts.start, "postgres")
        await asyncio.to_thread(parts.wait_ready, "postgres")
        async with reconnected(stage) as again:
            made = await again.over(hook, 3)
    assert [(row["attempt"], row["state"]) for row in made] == [(1, "SUCCEEDED")] * 3
    assert len(stage.receiver.at("/hook")) == 3


async def test_a_dead_endpoint_and_a_flooded_one_delay_nobody(stage: Scene, settings: Settings) -> None:
    """One that never answers and one with thousands of deliveries due; a third gets what is announced meanwhile at once."""
    dead, flooded, quick = (stage.chain() for _ in range(3))
    hung = await stage.hook(dead, "/dead")
    flood = await stage.hook(flooded, "/flooded")
    await stage.hook(quick, "/quick")

    async def slowly(_received: Received) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(status=204)

    stage.receiver.answers |= {"/dead": hang, "/flooded": slowly}
    for hook, chain in ((hung, dead), (flood, flooded)):
        await stage.make_due(hook, await persist(stage.database, chain, chain.events(3000)))
    tuning = {"webhook_in_flight": 12, "webhook_lease_seconds": 60.0, "webhook_timeout_seconds": 10.0}
    waited: list[float] = []
    async with dispatching(settings.model_copy(update=tuning)):
        await stage.receiver.until("/flooded", 50)
        await stage.receiver.until("/dead", 1)
        for number in range(1, 11):
            began = monotonic()
            await stage.tell(quick, quick.events(1))
            await stage.receiver.until("/quick", number)
            waited.append(monotonic() - began)
        assert await stage.due(flood) > 0
        assert stage.receiver.most_under_way["/dead"] == 1
    assert max(waited) < 1.5


async def test_a_lease_has_room_for_a_request(stage: Scene, settings: Settings) -> None:
    short = settings.model_copy(update={"webhook_lease_seconds": 1.0, "webhook_timeout_seconds": 1.0})
    with pytest.raises(ValueError, match="WEBHOOK_LEASE_SECONDS"):
        async with dispatching(short):
            pass
