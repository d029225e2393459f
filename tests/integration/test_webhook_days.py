"""The days that attempts are kept in: made ahead, dropped when they are old, and never at the cost of whoever is reading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from ops.db import Pool, open_pool
from ops.local.environment import Role
from schemas.topics import Region
from tests.support.managing import Database
from tests.support.stack import LocalStack

KEPT = 30
OLD = "webhook_attempt_20200101"
_MAKE_OLD = f"CREATE TABLE IF NOT EXISTS {OLD} PARTITION OF webhook_attempt FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')"


@pytest.fixture
async def dispatcher(servers: LocalStack) -> AsyncIterator[Pool]:
    """As a dispatcher is connected."""
    pool = await open_pool(servers.settings(Role.WEBHOOKS).database_url(Region.US), application_name="days", max_size=1)
    yield pool
    pool.terminate()


async def days(superuser: Database) -> set[str]:
    rows = await superuser.fetch("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'webhook_attempt'::regclass")
    return {row[0] for row in rows}


async def test_the_days_to_come_are_there_and_the_old_ones_go(superuser: Database, dispatcher: Pool) -> None:
    await superuser.execute(_MAKE_OLD)
    await dispatcher.execute("SELECT webhook_days($1)", KEPT)
    found = await days(superuser)
    today = datetime.now(UTC).date()
    assert {f"webhook_attempt_{today + timedelta(days=ahead):%Y%m%d}" for ahead in range(4)} <= found
    assert OLD not in found


async def test_a_reader_keeps_an_old_day_and_holds_up_nothing(servers: LocalStack, superuser: Database, dispatcher: Pool) -> None:
    """A dump reads for hours. Whoever waited to drop a table would have all others wait behind him, deliveries among them."""
    await superuser.execute(_MAKE_OLD)
    tomorrow = f"webhook_attempt_{datetime.now(UTC).date() + timedelta(days=1):%Y%m%d}"
    await superuser.execute(f"DROP TABLE IF EXISTS {tomorrow}")
    reader = await asyncpg.connect(servers.superuser_url())
    async with reader.transaction():
        await reader.execute("SELECT FROM webhook_attempt LIMIT 1")
        await dispatcher.execute("SELECT webhook_days($1)", KEPT)
        assert {OLD, tomorrow} <= await days(superuser)
    await reader.close()
    await dispatcher.execute("SELECT webhook_days($1)", KEPT)
    assert OLD not in await days(superuser)


async def test_a_dispatcher_may_change_no_table_by_itself(dispatcher: Pool) -> None:
    for statement in (f"DROP TABLE {OLD}", "SELECT webhook_days(0)"):
        with pytest.raises(asyncpg.PostgresError):
            await dispatcher.execute(statement)
