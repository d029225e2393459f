"""Dead letters of the search sink: kept once, listed, and tried again once what they died of is mended."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner

from ops import dead_letters
from ops.cli import build
from ops.local.environment import Role, service_environ
from ops.settings import Settings
from schemas.event import StoredEvent
from sinks.fates import Dead
from sinks.retry import Fate, retry_dead
from sinks.search.handle import SearchRow
from sinks.search.handle import handle as search_handle
from sinks.search.store import SearchStore
from tests.support.chains import Chain
from tests.support.managing import Database, operator, told
from tests.support.sinking import REGION, Topic, assert_whole, indexed, new_chain, open_topic, persist, sinking, until, until_indexed
from tests.support.stack import LocalStack


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.SEARCH)


@pytest.fixture
async def topic(servers: LocalStack, superuser: Database) -> AsyncIterator[Topic]:
    await superuser.execute("TRUNCATE search_dead")
    async with open_topic(servers) as opened:
        yield opened


def _refusing(event: StoredEvent) -> SearchRow:
    if event.action == "refused":
        raise Dead("refused")
    row = search_handle(event)
    return row._replace(tokens="{none}") if event.action == "misfit" else row


async def _letters(database: Database, chain: Chain) -> list[int]:
    rows = await database.fetch("SELECT seq FROM search_dead WHERE workspace_id = $1 ORDER BY id", chain.workspace_id)
    return [row[0] for row in rows]


async def test_an_event_that_dies_again_has_one_letter(settings: Settings, topic: Topic, superuser: Database) -> None:
    """A workspace's last event does: no row behind it tells a sink that begins anew that it was passed."""
    chain = new_chain()
    events = await persist(superuser, chain, [chain.event(), chain.event(action="refused")])

    async def is_buried() -> bool:
        return await _letters(superuser, chain) == [2]

    async with sinking(settings, _refusing):
        await topic.announce(events)
        await until(is_buried)
    async with sinking(settings, _refusing):
        await topic.announce(await persist(superuser, chain, chain.events(1)))
        await until_indexed(superuser, chain)
    assert await is_buried()


async def test_what_is_mended_is_found_again_and_what_is_not_stays(
    settings: Settings, topic: Topic, superuser: Database, servers: LocalStack
) -> None:
    """In the place that it has in its chain, in front of what was taken since; by a decision that is kept and told."""
    chain = new_chain()
    actions = ("good", "refused", "misfit", "good")
    events = await persist(superuser, chain, [chain.event(action=action) for action in actions])
    async with sinking(settings, _refusing):
        await topic.announce(events)
        await until_indexed(superuser, chain)
    assert await _letters(superuser, chain) == [2, 3]

    def half_mended(event: StoredEvent) -> SearchRow:
        return _refusing(event) if event.action == "misfit" else search_handle(event)

    owner = servers.settings(Role.OWNER)
    counts = await retry_dead("search", half_mended, SearchStore, owner, REGION, "mended the half")
    assert (counts[Fate.TAKEN], counts[Fate.DEAD]) == (1, 1)
    assert (await indexed(superuser, chain), await _letters(superuser, chain)) == ([1, 2, 4], [3])
    counts = await retry_dead("search", search_handle, SearchStore, owner, REGION, "mended")
    assert counts[Fate.TAKEN] == 1
    assert await _letters(superuser, chain) == []
    await assert_whole(superuser, chain, events)
    decided = await superuser.fetchrow("SELECT action, detail ->> 'reason' FROM operator_decision ORDER BY id DESC LIMIT 1")
    assert tuple(decided or ()) == ("RETRY_DEAD", "mended")
    entry = (await told(superuser, await operator(superuser)))[-1]
    assert (entry.action, entry.outcome, entry.metadata["reason"]) == ("dead-letters.retry", "SUCCESS", "mended")


async def test_an_event_that_came_by_itself_or_is_gone_leaves_no_letter(superuser: Database, servers: LocalStack) -> None:
    """A mended sink that begins anew takes a workspace's last event with the next one; retention may take another."""
    chain = new_chain()
    events = await persist(superuser, chain, chain.events(2))
    await _bury(superuser, chain, 1)
    await _bury(superuser, chain, 9)
    owner = servers.settings(Role.OWNER)
    assert (await retry_dead("search", search_handle, SearchStore, owner, REGION, "mended"))[Fate.PURGED] == 1
    await _bury(superuser, chain, 1)
    assert (await retry_dead("search", search_handle, SearchStore, owner, REGION, "again"))[Fate.TAKEN] == 1
    assert await _letters(superuser, chain) == []
    await assert_whole(superuser, chain, events[:1])


async def _bury(database: Database, chain: Chain, seq: int) -> None:
    await database.execute(
        "INSERT INTO search_dead (topic, partition, workspace_id, seq, reason) VALUES ('hyrelog.us.events', 0, $1, $2, 'test')",
        chain.workspace_id,
        seq,
    )


async def test_the_event_of_a_record_that_could_not_be_read_comes_from_postgres(
    settings: Settings, topic: Topic, superuser: Database, servers: LocalStack
) -> None:
    """Nobody knows which workspace's it was, so all of the partition's are compared with their chains."""
    chain = new_chain(6)
    events = await persist(superuser, chain, chain.events(1))

    async def is_buried() -> bool:
        return bool(await superuser.fetchval("SELECT count(*) FROM search_dead WHERE workspace_id IS NULL"))

    async with sinking(settings):
        await topic.announce(events)
        await until_indexed(superuser, chain)
        events += await persist(superuser, chain, chain.events(1))
        await topic.put(chain.workspace_id, [b"garbage"])
        await until(is_buried)
    counts = await retry_dead("search", search_handle, SearchStore, servers.settings(Role.OWNER), REGION, "mended")
    assert counts[Fate.REFILLED] == 1
    assert not await is_buried()
    async with sinking(settings):
        await until_indexed(superuser, chain)
    await assert_whole(superuser, chain, events)


async def test_they_are_listed(superuser: Database, servers: LocalStack) -> None:
    chain = new_chain()
    await _bury(superuser, chain, 7)
    newest, *_ = await dead_letters.find(servers.settings(Role.OWNER), REGION, 10)
    assert (newest["region"], newest["sink"], newest["workspaceId"], newest["seq"]) == ("US", "search", chain.workspace_id, 7)
    other = "INSERT INTO webhook_dead (topic, partition, workspace_id, seq, reason) VALUES ('hyrelog.us.events', 0, $1, 8, 'test')"
    await superuser.execute(other, chain.workspace_id)
    newest, older, *_ = await dead_letters.find(servers.settings(Role.OWNER), REGION, 10)
    assert [(each["sink"], each["seq"]) for each in (newest, older)] == [("webhooks", 8), ("search", 7)]


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_lists_them(servers: LocalStack, as_json: bool) -> None:
    asked = ["dead-letters", "--region", "us", *(["--json"] if as_json else [])]
    done = CliRunner().invoke(build(), asked, env=service_environ(servers.state, Role.OWNER))
    assert done.exit_code == 0
    assert not as_json or isinstance(json.loads(done.stdout), list)


@pytest.mark.parametrize(("why", "code"), [("mended", 0), (" ", 2)])
async def test_the_command_tries_them_again(superuser: Database, servers: LocalStack, why: str, code: int) -> None:
    """If it is told why."""
    chain = new_chain()
    await persist(superuser, chain, chain.events(1))
    await _bury(superuser, chain, 1)
    environ = {**os.environ, **service_environ(servers.state, Role.OWNER)}
    asked = [sys.executable, "-m", "sinks", "search", "--retry-dead", why, "--region", "us"]
    process = await asyncio.create_subprocess_exec(*asked, env=environ, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == code
    assert said.decode().startswith("US, ") == (code == 0)
    assert await indexed(superuser, chain) == ([1] if code == 0 else [])
