"""From Postgres to the topic and back, step by step: whatever comes in between, each client is told all that is stored, once."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.tail.hub import Hub
from api.tail.position import Audience
from tests.support.tail_world import COMPANY, PARTITIONS, WORKSPACES, Follower, World

AUDIENCES = (Audience(COMPANY, None), Audience(COMPANY, None), Audience(COMPANY, WORKSPACES[0]))
PARTITION = st.sampled_from(sorted(set(PARTITIONS.values())))
LOSING = st.sampled_from([1, 2])
"""Those of one workspace each. Elsewhere a position behind another workspace's event would stand behind the lost one too."""
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.sampled_from(WORKSPACES), st.integers(1, 4)),
        st.tuples(st.just("announce"), PARTITION, st.integers(1, 5)),
        st.tuples(st.just("repeat"), PARTITION, st.integers(1, 4)),
        st.tuples(st.just("lose"), LOSING, st.just(1)),
        st.tuples(st.just("cut"), st.integers(0, len(AUDIENCES) - 1), st.just(1)),
        st.tuples(st.just("turns"), st.none(), st.integers(1, 30)),
    ),
    min_size=5,
    max_size=60,
)
MOST_TURNS = 3000


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def take(step: tuple[str, object, int], world: World, hub: Hub, followers: list[Follower]) -> None:
    match step:
        case "store", str(workspace), count:
            for _ in range(count):
                world.store(workspace)
        case "announce", int(partition), count:
            world.announce(partition, count)
        case "repeat", int(partition), count:
            world.repeat(partition, count)
        case "lose", int(partition), _:
            world.lose(partition)
        case "cut", int(number), _:
            await followers[number].cut()
            followers[number].connect(hub)
        case _, _, count:
            await turns(count)


async def live(steps: list[tuple[str, object, int]]) -> None:
    world = World()
    hub, followers = world.hub(), [Follower(world, audience) for audience in AUDIENCES]
    try:
        for follower in followers:
            follower.connect(hub)
        for step in steps:
            await take(step, world, hub, followers)
        for workspace in WORKSPACES:  # a loss is seen once something comes behind it
            world.store(workspace)
        for partition in PARTITIONS.values():
            world.announce(partition, len(world.stored))
        for _ in range(MOST_TURNS):
            if all(sum(map(len, each.told.values())) >= len(world.of(each.audience)) for each in followers):
                break
            await asyncio.sleep(0)
        await turns(50)
        for follower in followers:
            assert follower.told == world.seqs(follower.audience)
    finally:
        for follower in followers:
            await follower.cut()
        await hub.stop()


@given(STEPS)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_each_client_is_told_all_that_is_stored_once(steps: list[tuple[str, object, int]]) -> None:
    asyncio.run(live(steps))
