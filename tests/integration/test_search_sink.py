"""The search sink on real servers: each announced event has one row, whatever the topic does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from ops import kafka
from ops.db import Connection
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.settings import Settings
from schemas.event import StoredEvent
from sinks.batch import DEAD_IN_A_ROW
from sinks.fates import Dead, Retry
from sinks.search.handle import SearchRow
from sinks.search.handle import handle as search_handle
from sinks.search.store import SearchStore
from tests.support.chains import Chain
from tests.support.managing import Database
from tests.support.sinking import (
    REGION,
    Topic,
    assert_whole,
    forget_records,
    indexed,
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
    done: int = await database.fetchval("SELECT count(*) FROM search_position WHERE refill_from IS NULL")
    return done == 8


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


async def test_a_record_that_can_not_be_read_is_told_of_and_its_event_comes_from_postgres(
    settings: Settings, topic: Topic, superuser: Database
) -> None:
    chain = new_chain()
    events = await persist(superuser, chain, chain.events(4))
    async with sinking(settings) as metrics:
        await topic.announce(events[:1])
        await topic.put(chain.workspace_id, [b"garbage"])
        await topic.announce(events[2:])
        await until_indexed(superuser, chain)
        assert value(metrics, "hyrelog_sink_dead_letters_total") == 1
    await assert_whole(superuser, chain, events)
    letter = await superuser.fetchrow("SELECT * FROM search_dead ORDER BY id DESC LIMIT 1")
    assert letter
    assert (letter["workspace_id"], letter["reason"]) == (None, "undecodable: not an event of a known schema")
    assert letter["record_offset"] is not None


def _refusing(event: StoredEvent) -> SearchRow:
    """A sink that can't take some events, and stumbles over others."""
    if event.action == "refused":
        raise Dead("refused")
    if event.action == "stumbled":
        raise KeyError("ada@test")
    row = search_handle(event)
    return row._replace(tokens="{none}") if event.action == "misfit" else row


async def test_an_event_that_the_sink_can_not_take_is_kept_as_a_dead_letter(settings: Settings, topic: Topic, superuser: Database) -> None:
    """Whoever finds out: the sink, by an error of its own, or the database. Its neighbours are taken, and it is told of once."""
    chain = new_chain()
    made = [chain.event(action=action) for action in ("good", "refused", "good", "misfit", "stumbled", "good", "good")]
    events = await persist(superuser, chain, made)
    async with sinking(settings, _refusing) as metrics:
        await topic.announce(events[:5])
        await topic.announce(events[5:6])
        await topic.announce(events[6:])
        await until_indexed(superuser, chain)
        assert value(metrics, "hyrelog_sink_dead_letters_total") == 3
    await assert_whole(superuser, chain, [event for event in events if event.action == "good"])
    letters = await superuser.fetch("SELECT seq, reason FROM search_dead WHERE workspace_id = $1 ORDER BY seq", chain.workspace_id)
    reasons = ["refused", "refused by PostgreSQL: InvalidTextRepresentationError", "handling failed: KeyError"]
    assert [tuple(letter) for letter in letters] == list(zip([2, 4, 5], reasons, strict=True))


async def test_a_sink_that_can_take_nothing_stands_still_and_loses_nothing(settings: Settings, topic: Topic, superuser: Database) -> None:
    """Nobody wants a day's events among the dead letters because of a bad release."""
    chain = new_chain()
    events = await persist(superuser, chain, [chain.event(action="refused") for _ in range(DEAD_IN_A_ROW + 1)])
    async with sinking(settings, _refusing) as metrics:
        await topic.announce(events)
        await until(lambda: _is(metrics, "hyrelog_sink_stopped", 1))
    assert await superuser.fetchval("SELECT count(*) FROM search_dead WHERE workspace_id = $1", chain.workspace_id) == 0
    async with sinking(settings):
        await until_indexed(superuser, chain)
    await assert_whole(superuser, chain, events)


async def _is(metrics: Metrics, name: str, wanted: float) -> bool:
    return value(metrics, name) == wanted


async def test_partitions_are_shared_out_and_taken_over(settings: Settings, topic: Topic, superuser: Database) -> None:
    """Two processes, then one, then two: each event has one row, and both did some of the work."""
    quick = settings.model_copy(update={"sinks_session_timeout_seconds": 6.0})
    chains = [new_chain(partition) for partition in range(8)]
    made = {chain.workspace_id: await persist(superuser, chain, chain.events(900)) for chain in chains}

    async def announce(first: int, last: int) -> None:
        for chain in chains:
            await topic.announce(made[chain.workspace_id][first:last])

    async with sinking(quick) as one:
        await announce(0, 300)
        last = 300
        async with sinking(quick) as two:

            async def shared() -> bool:
                """One event more of each chain, until the second process has taken one: the first is quick."""
                nonlocal last
                if last < 900:
                    await announce(last, last + 1)
                    last += 1
                return await _is_above(two, "hyrelog_sink_events_total", 0)

            await until(shared)
        await announce(last, 900)
        for chain in chains:
            await until_indexed(superuser, chain)
        assert value(one, "hyrelog_sink_events_total") + value(two, "hyrelog_sink_events_total") == 8 * 900
    for chain in chains:
        await assert_whole(superuser, chain, made[chain.workspace_id])


async def _is_above(metrics: Metrics, name: str, least: float) -> bool:
    return value(metrics, name) > least


async def test_lag_is_told_while_it_lasts(settings: Settings, topic: Topic, superuser: Database) -> None:
    chain = new_chain()
    events = await persist(superuser, chain, chain.events(5))
    lock = superuser.transaction()
    async with sinking(settings) as metrics:
        await topic.announce(events[:1])
        await until(lambda: _has(superuser, chain, 1))
        await lock.start()
        await superuser.execute("LOCK TABLE search")
        await topic.announce(events[1:])
        await until(lambda: _is(metrics, "hyrelog_sink_lag_records", 4))
        await until(lambda: _is_above(metrics, "hyrelog_sink_lag_seconds", 1))
        await lock.rollback()
        await until_indexed(superuser, chain)
        await until(lambda: _is(metrics, "hyrelog_sink_lag_records", 0))
        assert value(metrics, "hyrelog_sink_lag_seconds") == 0
    await assert_whole(superuser, chain, events)


async def _has(database: Database, chain: Chain, count: int) -> bool:
    return len(await indexed(database, chain)) == count


async def test_a_topic_made_anew_is_noticed(settings: Settings, topic: Topic, superuser: Database, servers: LocalStack) -> None:
    """Offsets begin again, so that the stored position would pass over what is new. What the old topic held comes from Postgres."""
    chain, quiet = new_chain(5), new_chain(5)
    async with sinking(settings) as metrics:
        first = await persist(superuser, chain, chain.events(40))
        await topic.announce(first)
        await until_indexed(superuser, chain)
        lost = await persist(superuser, quiet, quiet.events(3))
        await kafka.delete_topics(settings, REGION)
        await kafka.ensure_topics(settings.model_copy(update={"regions": (REGION,)}))
        more = await persist(superuser, chain, chain.events(30))
        async with open_topic(servers) as anew:
            await anew.announce(more)
            await until_indexed(superuser, chain)
            await until_indexed(superuser, quiet)
        assert value(metrics, "hyrelog_sink_gaps_total", reason="recreated") >= 1
    await assert_whole(superuser, chain, first + more)
    await assert_whole(superuser, quiet, lost)


class _Hesitant(SearchStore):
    """A sink that is not ready at first."""

    refusals = 2

    async def insert(self, connection: Connection, rows: Sequence[SearchRow]) -> None:
        """Not now."""
        if self.refusals:
            self.refusals -= 1
            raise Retry(0.01)
        await super().insert(connection, rows)


async def test_what_the_sink_puts_off_comes_again_before_anything_behind_it(settings: Settings, topic: Topic, superuser: Database) -> None:
    chain = new_chain()
    events = await persist(superuser, chain, chain.events(20))
    async with sinking(settings, search_handle, _Hesitant) as metrics:
        await topic.announce(events[:10])
        await topic.announce(events[10:])
        await until_indexed(superuser, chain)
        assert value(metrics, "hyrelog_sink_retries_total", error="Retry") == 2
    await assert_whole(superuser, chain, events)
