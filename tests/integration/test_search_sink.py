"""The search sink on real servers: each announced event has one row, whatever the topic does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ops.local.environment import Role
from ops.settings import Settings
from tests.support.sinking import (
    Database,
    Topic,
    assert_whole,
    forget_records,
    new_chain,
    open_topic,
    persist,
    sinking,
    until,
    until_indexed,
    value,
)
from tests.support.stack import LocalStack


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.SEARCH)


@pytest.fixture
async def topic(servers: LocalStack) -> AsyncIterator[Topic]:
    async with open_topic(servers) as opened:
        yield opened


async def test_each_announced_event_has_its_row_and_its_tokens(settings: Settings, topic: Topic, superuser: Database) -> None:
    """Of several workspaces in one partition and in others, before and after the sink began."""
    made = [(chain, await persist(superuser, chain, chain.events(700))) for chain in (new_chain(1), new_chain(1), new_chain(2))]
    async with sinking(settings):
        for _, events in made:
            await topic.announce(events)
        for chain, events in made:
            await until_indexed(superuser, chain)
            await assert_whole(superuser, chain, events)


async def test_repeats_on_the_topic_are_dropped(settings: Settings, topic: Topic, superuser: Database) -> None:
    """A worker that died before it noted what it had announced announces it again."""
    chain = new_chain()
    events = await persist(superuser, chain, chain.events(50))
    async with sinking(settings) as metrics:
        await topic.announce(events[:30])
        await topic.announce(events[10:30])
        await topic.announce(events[20:])
        await until_indexed(superuser, chain)
        await assert_whole(superuser, chain, events)
        assert value(metrics, "hyrelog_sink_repeated_records_total") == 30


async def test_a_hole_is_read_from_postgres(settings: Settings, topic: Topic, superuser: Database) -> None:
    """It should never occur; and a reader that took the rest would never have it."""
    chain, other = new_chain(3), new_chain(3)
    await topic.announce(await persist(superuser, other, other.events(1)))
    async with sinking(settings) as metrics:
        await until_indexed(superuser, other)
        events = await persist(superuser, chain, chain.events(1300))
        await topic.announce(events[:1])
        await topic.announce(events[1200:])
        await until_indexed(superuser, chain)
        await assert_whole(superuser, chain, events)
        assert value(metrics, "hyrelog_sink_gaps_total", reason="hole") == 1
        assert value(metrics, "hyrelog_sink_refilled_events_total") >= 1199


async def test_what_postgres_no_longer_has_does_not_stop_a_workspace(settings: Settings, topic: Topic, superuser: Database) -> None:
    """The older part of a chain may be in the archive alone."""
    chain = new_chain()
    chain.events(600)
    stored = await persist(superuser, chain, chain.events(5))
    chain.events(10)
    last = await persist(superuser, chain, chain.events(2))
    async with sinking(settings):
        await topic.announce(last)
        await until_indexed(superuser, chain)
    await assert_whole(superuser, chain, stored + last)


async def test_events_that_nobody_announces_any_more_are_found_when_the_sink_is_new(settings: Settings, superuser: Database) -> None:
    """An installation that had events before it had this sink; a quiet workspace brings no record that would tell."""
    chain = new_chain()
    events = await persist(superuser, chain, chain.events(1234))
    await superuser.execute("DELETE FROM search_position")
    async with sinking(settings) as metrics:
        await until_indexed(superuser, chain)
        await until(lambda: _is_refilled(superuser))
        await assert_whole(superuser, chain, events)
        assert value(metrics, "hyrelog_sink_gaps_total", reason="first_seen") == 8


async def _is_refilled(database: Database) -> bool:
    missing = await database.fetchval("SELECT count(*) FROM search_position WHERE refill_from IS NOT NULL")
    return missing == 0 and await database.fetchval("SELECT count(*) FROM search_position") == 8


async def test_what_retention_removed_comes_from_postgres(settings: Settings, topic: Topic, superuser: Database) -> None:
    """The sink was away for longer than the topic keeps records; of a quiet workspace nothing is left there."""
    quiet, busy = new_chain(4), new_chain(4)
    async with sinking(settings):
        first = await persist(superuser, busy, busy.events(1))
        await topic.announce(first)
        await until_indexed(superuser, busy)
    lost = await persist(superuser, quiet, quiet.events(20))
    await topic.announce(lost)
    more = await persist(superuser, busy, busy.events(30))
    await topic.announce(more)
    await forget_records(settings)
    async with sinking(settings):
        await until_indexed(superuser, quiet)
        await until_indexed(superuser, busy)
    await assert_whole(superuser, quiet, lost)
    await assert_whole(superuser, busy, first + more)
