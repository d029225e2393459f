"""``hyrelog seed --reset``: a demo's region begins anew, and nobody else's can be deleted by a slip."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest
from typer.testing import CliRunner, Result

from ops.cli import build
from ops.db import use_micros
from ops.kafka import Topic, describe, producer
from ops.local.envfile import read_env, write_demo_env
from ops.local.environment import Role
from ops.local.stack import SERVERS
from ops.seed import SeedSettings, seed
from schemas.topics import Region, events_topic, ingest_topic, rejected_topic
from tests.support.chains import Chain, store
from tests.support.managing import operator, told
from tests.support.stack import LocalStack, running_stack

REGION = Region.UK
TOPICS = (ingest_topic(REGION), events_topic(REGION), rejected_topic(REGION))


@pytest.fixture(scope="module")
def servers() -> Iterator[LocalStack]:
    """Start servers of these tests' own: they delete all that a region holds, and may only while nothing is connected to it."""
    with running_stack(only=SERVERS) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(servers: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands work on the stack's region; no event stays in it for the tests that count them."""
    monkeypatch.setenv("HYRELOG_STATE", str(servers.state.root))
    monkeypatch.setenv("SEED_REGION", REGION)
    yield
    with psycopg.connect(servers.superuser_url(REGION)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("TRUNCATE events, chain_head")


@pytest.fixture
def not_a_demo(servers: LocalStack) -> Iterator[None]:
    _mark(servers, is_demo=False)
    yield
    _mark(servers, is_demo=True)


def _mark(servers: LocalStack, *, is_demo: bool) -> None:
    with psycopg.connect(servers.superuser_url(REGION)) as connection:
        connection.execute("UPDATE database_region SET is_demo = %s", (is_demo,))


def _run(*options: str) -> Result:
    return CliRunner().invoke(build(), ["seed", *options])


def _counts(servers: LocalStack) -> dict[str, int]:
    with psycopg.connect(servers.superuser_url(REGION)) as connection:
        query = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM company WHERE NOT is_operator), (SELECT count(*) FROM api_key)"
        return dict(zip(("events", "companies", "keys"), connection.execute(query).fetchone() or (), strict=True))


async def _fill(servers: LocalStack) -> dict[str, int]:
    """A company with stored events, and a record that waits in Kafka."""
    tenant = servers.tenant(REGION)
    chain = Chain(str(tenant.id), str(tenant.workspaces[0].id), REGION)
    connection = await asyncpg.connect(servers.superuser_url(REGION))
    await use_micros(connection)
    await store(connection, chain, chain.events(3))
    await connection.close()
    sender = producer(servers.settings(Role.INGEST), REGION)
    await sender.start()
    await sender.send_and_wait(ingest_topic(REGION), b"waiting")
    await sender.stop()
    return _counts(servers)


async def _topics(servers: LocalStack) -> dict[str, Topic]:
    found = await describe(servers.settings(Role.OWNER), REGION)
    return {name: found[name] for name in TOPICS}


async def _told(servers: LocalStack) -> list[tuple[str, str]]:
    """What the operators' log of the region was told last."""
    connection = await asyncpg.connect(servers.superuser_url(REGION))
    try:
        return [(entry.action, entry.outcome) for entry in await told(connection, await operator(connection))][-1:]
    finally:
        await connection.close()


async def test_a_demo_begins_anew(servers: LocalStack) -> None:
    """Database and topics both: a record left in Kafka would bring the events of companies back that are no more."""
    before = await _fill(servers)
    topics = await _topics(servers)
    assert before["events"] >= 3
    done = await asyncio.to_thread(_run, "--reset")
    assert done.exit_code == 0, done.output
    assert _counts(servers) == {"events": 0, "companies": 1, "keys": 2}
    anew = await _topics(servers)
    assert all(anew[name].id != topics[name].id and anew[name].partitions == topics[name].partitions for name in TOPICS)
    assert "Keys, shown this once" in done.output
    assert await _told(servers) == [("region.reset", "SUCCESS")]


async def test_the_demos_file_fits_what_was_seeded_anew(servers: LocalStack) -> None:
    """Whoever resets the demo by hand and starts it again must get in with the keys of its file."""
    done = await asyncio.to_thread(_run, "--reset")
    assert done.exit_code == 0, done.output
    environ = read_env(write_demo_env(servers.state))
    assert environ["HYRELOG_COMPANY_ID"] in done.output
    assert environ["HYRELOG_COMPANY_KEY"] in done.output
    assert environ["HYRELOG_WORKSPACE_KEY"] in done.output


async def test_what_is_no_demos_is_never_deleted(servers: LocalStack, not_a_demo: None) -> None:
    before, topics = await _fill(servers), await _topics(servers)
    done = await asyncio.to_thread(_run, "--reset")
    assert (done.exit_code, _counts(servers), await _topics(servers)) == (1, before, topics)
    assert "not marked as a demo's" in done.output
    assert await _told(servers) == [("region.reset", "DENIED")]


async def test_nothing_is_deleted_under_a_running_service(servers: LocalStack) -> None:
    before, topics = await _fill(servers), await _topics(servers)
    with psycopg.connect(servers.settings(Role.STREAMS).database_url(REGION)):
        done = await asyncio.to_thread(_run, "--reset")
    assert (done.exit_code, _counts(servers), await _topics(servers)) == (1, before, topics)
    assert "streams_local" in done.output
    assert await _told(servers) == [("region.reset", "DENIED")]


def test_without_reset_nothing_is_destroyed_and_what_exists_is_told(servers: LocalStack) -> None:
    first = seed(servers.settings(Role.ADMIN), SeedSettings())
    before = _counts(servers)
    done = _run()
    assert (done.exit_code, _counts(servers)) == (0, before)
    assert str(first.id) in done.output
    assert str(first.workspaces[0].project_id) in done.output
    assert "hlk_" not in done.output
