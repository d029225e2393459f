"""Events that are sent again: under the same ids, marked, no more at a time than an endpoint should have to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiohttp import web

from ops.settings import Settings
from schemas.webhooks import delivery_id
from sinks.webhooks.ledger import Ledger, open_ledger_pool
from sinks.webhooks.replays import Replays
from tests.support.chains import BASE_TIME, SECOND
from tests.support.delivering import FAST, Hook, Scene, dispatching, scene, value
from tests.support.keys import FakeClock
from tests.support.managing import Database
from tests.support.receiver import Received, hang
from tests.support.sinking import REGION, persist, until
from tests.support.stack import LocalStack


@pytest.fixture
async def stage(servers: LocalStack, superuser: Database) -> AsyncIterator[Scene]:
    async with scene(servers, superuser, webhook_retry_seconds=FAST) as opened:
        yield opened


@pytest.fixture
def settings(stage: Scene) -> Settings:
    return stage.settings


async def _state(stage: Scene, replay: UUID) -> tuple[str, int]:
    row = await stage.database.fetchrow("SELECT state, events FROM webhook_replay WHERE id = $1", replay)
    assert row is not None
    return row["state"], row["events"]


async def _until_over(stage: Scene, replay: UUID) -> tuple[str, int]:
    async def is_over() -> bool:
        return (await _state(stage, replay))[0] != "RUNNING"

    await until(is_over)
    return await _state(stage, replay)


async def _seqs(stage: Scene, settings: Settings, hook: Hook, replay: UUID, count: int) -> list[int]:
    async with dispatching(settings, sink=False):
        assert await _until_over(stage, replay) == ("DONE", count)
        await stage.over(hook, count)
    return sorted(each.data["seq"] for each in stage.receiver.at("/hook"))


async def test_a_range_of_the_chain_is_sent_again_under_its_ids(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    async with dispatching(settings) as metrics:
        events = await stage.tell(chain, chain.events(6))
        await stage.over(hook, 6)
        first = {each.data["seq"]: each.id for each in stage.receiver.at("/hook")}
        replay = await stage.replay(chain, hook, from_seq=2, to_seq=4)
        assert await _until_over(stage, replay) == ("DONE", 3)
        made = await stage.over(hook, 9)
    assert value(metrics, "hyrelog_webhook_replayed_deliveries_total") == 3
    again = stage.receiver.at("/hook")[6:]
    assert {each.data["seq"]: each.id for each in again} == {seq: first[seq] for seq in (2, 3, 4)}
    assert {(each.headers["x-hyrelog-replay"], each.attempt) for each in again} == {("true", 1)}
    assert first[2] == delivery_id(hook.id, events[1].id, events[1].received_at)
    assert sorted(each["kind"] for each in made) == ["EVENT"] * 6 + ["REPLAY"] * 3


async def test_a_replay_may_go_back_to_before_the_endpoint_and_keeps_its_filters(stage: Scene, settings: Settings) -> None:
    """By the events' own times, which need not be in the order of their chain; the end of a range is not in it."""
    chain = stage.chain()
    times = (50, 10, 30, 20, 40, 30)
    actions = ("user.login", "user.login", "user.login", "user.login", "user.login", "other")
    made = [chain.event(at=BASE_TIME + at * SECOND, action=action) for at, action in zip(times, actions, strict=True)]
    await persist(stage.database, chain, made)
    hook = await stage.hook(chain, "/hook", filters={"action": ["user.*"]})
    replay = await stage.replay(chain, hook, from_at=BASE_TIME + 20 * SECOND, to_at=BASE_TIME + 50 * SECOND)
    assert await _seqs(stage, settings, hook, replay, 3) == [3, 4, 5]


async def test_more_than_a_page_is_put_in_line_in_whole(stage: Scene, settings: Settings) -> None:
    """By time too, where many events share one."""
    chain = stage.chain()
    await persist(stage.database, chain, [chain.event(at=BASE_TIME + (each // 150) * SECOND) for each in range(450)])
    hook = await stage.hook(chain, "/hook")
    replay = await stage.replay(chain, hook, from_at=BASE_TIME, to_at=BASE_TIME + 60 * SECOND)
    assert await _seqs(stage, settings, hook, replay, 450) == [*range(1, 451)]


async def test_events_are_sent_again_by_their_ids(stage: Scene, settings: Settings) -> None:
    """Those of another workspace's are not among them."""
    chain, other = stage.chain(), stage.chain()
    events = await persist(stage.database, chain, chain.events(5))
    (foreign,) = await persist(stage.database, other, other.events(1))
    hook = await stage.hook(chain, "/hook")
    replay = await stage.replay(chain, hook, event_ids=[events[3].id, events[0].id, foreign.id])
    assert await _seqs(stage, settings, hook, replay, 2) == [1, 4]


async def test_what_is_still_to_be_sent_is_sent_now(stage: Scene, settings: Settings) -> None:
    """A delivery that waits for its next attempt begins its steps anew, and stays one delivery."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.make_due(hook, await persist(stage.database, chain, chain.events(1)))
    later = "UPDATE webhook_due SET due_at = now() + interval '5 hours', attempt = 4, failures = 3 WHERE webhook_id = $1"
    await stage.database.execute(later, hook.id)
    await stage.replay(chain, hook, from_seq=1, to_seq=1)
    async with dispatching(settings, sink=False):
        (made,) = await stage.over(hook, 1)
        (got,) = stage.receiver.at("/hook")
    assert (made["attempt"], made["kind"], made["state"]) == (1, "REPLAY", "SUCCEEDED")
    assert (got.attempt, got.headers["x-hyrelog-replay"]) == (1, "true")


async def test_a_replay_waits_for_the_attempt_that_is_under_way(stage: Scene, settings: Settings) -> None:
    """It may have been sent before the replay was asked for; and its result must find its own row."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    gate = asyncio.Event()

    async def wait(received: Received) -> web.Response:
        if received.data["seq"] == 2 and "x-hyrelog-replay" not in received.headers:
            await gate.wait()
        return web.Response(status=204)

    stage.receiver.answers["/hook"] = wait
    async with dispatching(settings):
        await stage.tell(chain, chain.events(1))
        await stage.over(hook, 1)
        await stage.tell(chain, chain.events(1))
        await stage.receiver.until("/hook", 2)
        await stage.tell(chain, chain.events(1))
        replay = await stage.replay(chain, hook, from_seq=1, to_seq=3)

        async def is_before_it() -> bool:
            return await _state(stage, replay) == ("RUNNING", 1)

        await until(is_before_it)
        gate.set()
        assert await _until_over(stage, replay) == ("DONE", 3)
        made = await stage.over(hook, 5)
    again = [each.data["seq"] for each in stage.receiver.at("/hook") if "x-hyrelog-replay" in each.headers]
    assert sorted(again) == [1, 2, 3]
    assert {(each["attempt"], each["state"]) for each in made} == {(1, "SUCCEEDED")}


async def test_a_replay_that_meets_an_attempt_under_way_is_left_alone_for_a_moment(stage: Scene, settings: Settings) -> None:
    """An endpoint that hangs would else have its page read again and again, as fast as that goes."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.make_due(hook, await persist(stage.database, chain, chain.events(3)))
    await stage.database.execute(
        "UPDATE webhook_due SET claimed = true, due_at = now() + interval '1 minute' WHERE webhook_id = $1", hook.id
    )
    await stage.replay(chain, hook, from_seq=1, to_seq=3)
    pool = await open_ledger_pool(settings.database_url(REGION), REGION, 1)
    clock = FakeClock()
    replays = Replays(Ledger(REGION, pool), REGION, clock)
    assert [await replays.turn() for _ in range(3)] == [0, 0, None]
    clock.now += 1.5
    assert await replays.turn() == 0
    pool.terminate()


async def test_what_waits_for_its_next_attempt_holds_up_no_replay(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.make_due(hook, await persist(stage.database, chain, chain.events(1001)))
    await stage.database.execute("UPDATE webhook_due SET due_at = now() + interval '5 hours', attempt = 4 WHERE webhook_id = $1", hook.id)
    (event,) = await persist(stage.database, chain, chain.events(1))
    replay = await stage.replay(chain, hook, from_seq=event.seq, to_seq=event.seq)
    async with dispatching(settings, sink=False):
        assert await _until_over(stage, replay) == ("DONE", 1)
        await stage.receiver.until("/hook", 1)


async def test_a_replay_to_who_was_disabled_is_cancelled(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await persist(stage.database, chain, chain.events(1))
    await stage.disable(hook)
    replay = await stage.replay(chain, hook, from_seq=1, to_seq=1)
    async with dispatching(settings, sink=False):
        assert await _until_over(stage, replay) == ("CANCELLED", 0)
    assert stage.receiver.at("/hook") == []


async def test_who_does_not_keep_up_has_no_more_put_in_line_and_delays_nobody(stage: Scene, settings: Settings) -> None:
    chain, other = stage.chain(), stage.chain()
    slow, quick = await stage.hook(chain, "/slow"), await stage.hook(other, "/quick")
    for each in (chain, other):
        await persist(stage.database, each, each.events(1500))
    stage.receiver.answers["/slow"] = hang
    stuck = await stage.replay(chain, slow, from_seq=1, to_seq=1500)
    async with dispatching(settings, sink=False):

        async def is_full() -> bool:
            return await stage.due(slow) >= 1000

        await until(is_full)
        replay = await stage.replay(other, quick, from_seq=1, to_seq=1500)
        assert await _until_over(stage, replay) == ("DONE", 1500)
        await stage.over(quick, 1500)
        state, count = await _state(stage, stuck)
        assert (state, await stage.due(slow)) == ("RUNNING", count)
        assert 1000 <= count < 1200
