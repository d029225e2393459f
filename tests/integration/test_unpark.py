"""``hyrelog unpark``: a parked partition goes on by an operator's decision, which is kept and told to the operator's audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from ops.kafka import describe
from ops.local.environment import Role, service_environ
from ops.unpark import NotParked, release
from schemas.topics import Region, ingest_topic
from tests.support.commanding import run_here
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
PARTITION = 7


@pytest.fixture
async def parked(servers: LocalStack, superuser: Database) -> AsyncIterator[None]:
    """A partition that stands at the beginning of its log, and may not go on."""
    topic = ingest_topic(Region.US)
    topic_id = (await describe(servers.settings(Role.OWNER), Region.US))[topic].id
    insert = "INSERT INTO source (topic, partition, topic_id, parked_reason, parked_at) VALUES ($1, $2, $3, 'LOG_BEHIND', now())"
    await superuser.execute(insert, topic, PARTITION, topic_id)
    yield
    await superuser.execute("DELETE FROM source WHERE topic = $1 AND partition = $2", topic, PARTITION)


@pytest.mark.usefixtures("parked")
async def test_a_decision_is_carried_out_kept_and_told(servers: LocalStack, superuser: Database) -> None:
    said = await release(servers.settings(Role.OWNER), Region.US, PARTITION, None, "looked into by hand")
    assert said == f"US partition {PARTITION} goes on at offset 0 (position 0)"
    assert await superuser.fetchval("SELECT parked_reason FROM source WHERE partition = $1", PARTITION) is None
    decided = await superuser.fetchrow("SELECT action, detail ->> 'reason' FROM operator_decision ORDER BY id DESC LIMIT 1")
    assert tuple(decided or ()) == ("UNPARK", "looked into by hand")
    told = await superuser.fetchrow("SELECT company_id, workspace_id FROM audit_outbox ORDER BY position DESC LIMIT 1")
    assert told == await superuser.fetchrow("SELECT * FROM operator_audit_workspace()")


@pytest.mark.usefixtures("parked")
async def test_all_that_are_parked_go_on_by_one_decision(servers: LocalStack, superuser: Database) -> None:
    """With a reason, and each from where it is by default."""

    async def run(*words: str) -> tuple[int, str]:
        asked = ("unpark", "--region", "us", "--all", *words)
        done = await asyncio.to_thread(run_here, servers.state.root, asked, service_environ(servers.state, Role.OWNER))
        return done.code, done.out

    for refused in ((), ("--reason", " "), ("--reason", "why", "--partition", "7"), ("--reason", "why", "--from-offset", "0")):
        assert await run(*refused) == (2, "")
    assert await superuser.fetchval("SELECT count(*) FROM source WHERE parked_reason IS NOT NULL") == 1
    assert await run("--reason", "looked into by hand") == (0, f"US partition {PARTITION} goes on at offset 0 (position 0)\n")
    assert await run("--reason", "again") == (0, "")


async def test_what_is_not_parked_is_left_alone(servers: LocalStack, superuser: Database) -> None:
    before = await superuser.fetchval("SELECT count(*) FROM operator_decision")
    with pytest.raises(NotParked, match="is not parked"):
        await release(servers.settings(Role.OWNER), Region.US, PARTITION, None, "no reason")
    assert await superuser.fetchval("SELECT count(*) FROM operator_decision") == before
