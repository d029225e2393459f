"""The chain worker settles idempotency keys: one event a key, and every id leads somewhere, in one chunk or over many."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from ops.db import load_queries
from ops.local.environment import Role
from ops.seed import Tenant
from schemas import codec, ids
from schemas.envelope import SALTS_BYTES, Receipt, envelope, seal
from schemas.idempotency import content_hashes
from schemas.incoming import read
from schemas.topics import Region
from streams.store import open_store
from tests.support.plans import scans
from tests.support.stack import LocalStack
from tests.support.topic import publish

PATIENCE = 60.0
DAY_MICROS = 86_400_000_000
SECRET = os.urandom(32)


class Keyed:
    """Events under one key, as ingest would send them."""

    def __init__(self, tenant: Tenant, key: str) -> None:
        self.company, self.workspace, self.key = str(tenant.id), str(tenant.workspaces[0].id), key

    def record(self, event_id: str, content: bytes = b"{}", days_ago: int = 0) -> bytes:
        now = time.time_ns() // 1000 - days_ago * DAY_MICROS
        event = read({"category": "auth", "action": "login", "idempotencyKey": self.key}, now)
        receipt = Receipt(self.company, self.workspace, Region.US, now, os.urandom(16).hex(), None)
        tenancy = codec.tenancy(self.company, self.workspace)
        hashes = content_hashes([SECRET], content)
        return envelope(tenancy, [seal(event, receipt, id=event_id, salts=os.urandom(SALTS_BYTES), tenancy=tenancy, content_hash=hashes)])


def new_id() -> str:
    return ids.uuid7(time.time_ns() // 1000, os.urandom(ids.RANDOM_BYTES))


@pytest.fixture
async def database(stack: LocalStack) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(stack.superuser_url())
    yield connection
    await connection.close()


async def settled(database: asyncpg.Connection[asyncpg.Record], workspace: str, ids: Sequence[str]) -> dict[str, str]:
    """What became of the ids, once all of them have become something: the id each leads to, or a reason."""
    async with asyncio.timeout(PATIENCE):
        while True:
            rows = await database.fetch(
                "SELECT id, id::text AS fate FROM events WHERE workspace_id = $1 "
                "UNION SELECT id, event_id::text FROM event_alias WHERE workspace_id = $1 "
                "UNION SELECT id, reason FROM rejected WHERE workspace_id = $1",
                workspace,
            )
            found = {str(row["id"]): row["fate"] for row in rows}
            if found.keys() >= set(ids):
                assert len(rows) == len(found)
                return found
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("together", [True, False], ids=["one chunk", "chunk by chunk"])
async def test_the_first_one_wins(stack: LocalStack, database: asyncpg.Connection[asyncpg.Record], together: bool) -> None:
    tenant = stack.tenant()
    keyed = Keyed(tenant, "order 17")
    first, alias, conflict, last = (new_id() for _ in range(4))
    records = [
        keyed.record(first),
        keyed.record(first),  # published again under its claim
        keyed.record(alias),
        keyed.record(conflict, b"{other}"),
        keyed.record(alias),
        Keyed(tenant, "order 18").record(last),
    ]
    for sent in [records] if together else [[record] for record in records]:
        await publish(stack, keyed.workspace, sent)
    fates = await settled(database, keyed.workspace, [first, alias, conflict, last])
    assert fates == {first: first, alias: first, conflict: "IDEMPOTENCY_CONFLICT", last: last}
    stored = await database.fetch("SELECT id, seq FROM events WHERE workspace_id = $1 ORDER BY seq", keyed.workspace)
    assert [(str(row["id"]), row["seq"]) for row in stored] == [(first, 1), (last, 2)]
    keys = await database.fetch("SELECT key, seq, event_id FROM event_key WHERE workspace_id = $1 ORDER BY seq", keyed.workspace)
    assert [(row["key"], row["seq"], str(row["event_id"])) for row in keys] == [("order 17", 1, first), ("order 18", 2, last)]


async def test_a_key_of_long_ago_is_still_taken(stack: LocalStack, database: asyncpg.Connection[asyncpg.Record]) -> None:
    """Days are no bounds: neither midnight between two racers, nor a repeat after months."""
    keyed = Keyed(stack.tenant(), "k")
    old, yesterday, today = (new_id() for _ in range(3))
    for event_id, days in ((old, 100), (today, 0), (yesterday, 1)):
        await publish(stack, keyed.workspace, [keyed.record(event_id, days_ago=days)])
    fates = await settled(database, keyed.workspace, [old, yesterday, today])
    assert fates == {old: old, today: old, yesterday: old}


async def test_a_key_is_a_workspace_s_own(stack: LocalStack, database: asyncpg.Connection[asyncpg.Record]) -> None:
    for tenant in (stack.tenant(), stack.tenant()):
        keyed = Keyed(tenant, "shared name")
        event_id = new_id()
        await publish(stack, keyed.workspace, [keyed.record(event_id)])
        assert await settled(database, keyed.workspace, [event_id]) == {event_id: event_id}


async def test_keys_are_looked_up_in_their_index_however_small_the_table_looks(stack: LocalStack) -> None:
    """A plan that was made for an empty table is kept while it grows."""
    _, pools = await open_store(stack.settings(Role.STREAMS).database_url(Region.US), Region.US, 1)
    try:
        async with pools[0].acquire() as connection:
            statement = await connection.prepare(load_queries("streams")["settled_keys"])
            plan = json.loads(json.dumps(await statement.explain([new_id() for _ in range(1000)], ["k"] * 1000)))
    finally:
        for pool in pools:
            pool.terminate()
    assert {kind for kind, table in scans(plan) if table == "event_key"} == {"Index Scan"}
