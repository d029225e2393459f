"""``hyrelog partitions``: what waits and what is parked, told by the database and the log, whether workers run or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner, Result

from ops.cli import build
from ops.kafka import describe
from ops.local.environment import Role, service_environ
from ops.partitions import Standing, standings
from ops.settings import Settings
from schemas.topics import Region, ingest_topic
from tests.support.stack import LocalStack

REGION = Region.AU
TOPIC = ingest_topic(REGION)
PARTITION = 3


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.OWNER)


@pytest.fixture
def database(servers: LocalStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(servers.superuser_url(REGION), autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM source")


async def stands_at(
    database: psycopg.Connection, settings: Settings, next_offset: int, announced: int, *, topic_id: UUID | None = None
) -> None:
    known = (await describe(settings, REGION))[TOPIC].id
    database.execute(
        "INSERT INTO source (topic, partition, topic_id, offset_base, next_offset, announced, parked_reason, parked_at)"
        " VALUES (%s, %s, %s, 100, %s, %s, %s, %s)",
        (TOPIC, PARTITION, topic_id or known, next_offset, announced, topic_id and "TOPIC_RECREATED", topic_id and "2026-01-01T00:00:00Z"),
    )


async def log_end(settings: Settings) -> int:
    """Of a partition that nobody has ever held, all that is in the log waits."""
    return next(each.waiting or 0 for each in await standings(settings, REGION) if each.partition == PARTITION)


def run(servers: LocalStack, *words: str, **environ: str) -> Result:
    return CliRunner().invoke(build(), ["partitions", *words], env=service_environ(servers.state, Role.OWNER) | environ)


async def test_what_nobody_ever_held_waits_from_the_beginning(settings: Settings, database: psycopg.Connection) -> None:
    found = await standings(settings, REGION)
    assert [each.partition for each in found] == list(range(settings.topic_partitions))
    assert {(each.unannounced, each.parked_reason) for each in found} == {(0, None)}


async def test_waiting_is_counted_from_the_stored_position(settings: Settings, database: psycopg.Connection) -> None:
    """Which goes on rising when a topic is made anew, by its base."""
    end = await log_end(settings)
    await stands_at(database, settings, 100 + end, 98 + end)
    assert (await standings(settings, REGION))[PARTITION] == Standing(PARTITION, 0, 2, None, None)


async def test_of_another_log_nobody_can_tell_what_waits(settings: Settings, database: psycopg.Connection) -> None:
    await stands_at(database, settings, 100, 100, topic_id=UUID(int=1))
    found = (await standings(settings, REGION))[PARTITION]
    assert (found.waiting, found.parked_reason) == (None, "TOPIC_RECREATED")


async def test_the_command_tells_sums_and_members(servers: LocalStack, settings: Settings, database: psycopg.Connection) -> None:
    await stands_at(database, settings, 100, 100, topic_id=UUID(int=1))
    told = await asyncio.to_thread(run, servers, "--region", "au")
    assert told.exit_code == 0
    assert "1 of 8 partitions are parked" in told.stdout
    rows = json.loads((await asyncio.to_thread(run, servers, "--region", "au", "--json")).stdout)
    assert rows[PARTITION] == {
        "region": "AU",
        "partition": PARTITION,
        "waiting": None,
        "notAnnounced": 0,
        "parkedReason": "TOPIC_RECREATED",
        "parkedAt": "2026-01-01T00:00:00.000000Z",
    }


@pytest.mark.parametrize(
    ("away", "nowhere"), [("KAFKA_BOOTSTRAP_AU", "127.0.0.1:1"), ("DATABASE_URL_AU", "postgresql://x:y@127.0.0.1:1/x")]
)
def test_a_region_that_can_t_be_asked_is_named_and_the_others_told(servers: LocalStack, away: str, nowhere: str) -> None:
    told = run(servers, "--region", "au", "--region", "uk", **{away: nowhere})
    assert told.exit_code == 1
    assert "AU: can't tell" in told.stderr
    assert "UK: " in told.stdout
