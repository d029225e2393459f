"""The table of claims: two processes never wait for each other in a circle, old claims go, and no look-up reads a table whole."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from ingest.app import CLAIM_PARAMETERS
from ingest.claims import Claims, Standing
from ingest.store import Claim, ClaimTable, Holder
from ops.db import Pool, load_queries, open_pool
from ops.kafka import partition_of
from ops.local.environment import Role
from ops.metrics import Metrics
from schemas.topics import Region, ingest_topic
from tests.support.doors import ingest
from tests.support.keyed import DAY_MICROS, Database, Writer, now_micros
from tests.support.plans import scans
from tests.support.stack import LocalStack

COMPANY = str(uuid4())
CONTENT = b"c" * 32


@pytest.fixture
async def pools(servers: LocalStack) -> AsyncIterator[tuple[Pool, Pool]]:
    """Those of two ingest processes."""
    url = servers.settings(Role.INGEST).database_url(Region.US)
    async with AsyncExitStack() as exits:
        one, two = [
            await exits.enter_async_context(await open_pool(url, application_name="claims", max_size=4, parameters=CLAIM_PARAMETERS))
            for _ in range(2)
        ]
        yield one, two


@pytest.fixture
async def tables(pools: tuple[Pool, Pool]) -> tuple[ClaimTable, ClaimTable]:
    return ClaimTable(pools[0]), ClaimTable(pools[1])


def claim(workspace: str, key: str, received_at: int | None = None) -> Claim:
    return Claim(workspace, key, COMPANY, str(uuid4()), CONTENT, received_at or now_micros())


def _leads(claim: Claim, met: dict[str, Holder | None]) -> str:
    """The id that it would be published under."""
    holder = met.get(claim.event_id)
    return claim.event_id if holder is None else holder.event_id


async def keys_of(superuser: Database, workspace: str) -> set[str]:
    return {row["key"] for row in await superuser.fetch("SELECT key FROM key_claim WHERE workspace_id = $1", workspace)}


async def test_two_processes_that_claim_the_same_keys_in_any_order_agree(tables: tuple[ClaimTable, ClaimTable]) -> None:
    dice = Random(1)
    for _ in range(20):
        workspaces, names = [str(uuid4()) for _ in range(3)], ["Z", "a", "é".encode().hex(), "~", " "]
        wanted = [(workspace, name) for workspace in workspaces for name in names]
        sets = []
        for _process in tables * 2:
            dice.shuffle(wanted)
            sets.append([claim(*each) for each in wanted])
        answers = await asyncio.gather(*(table.claim(claims) for table, claims in zip(tables * 2, sets, strict=True)))
        leads: dict[tuple[str, str], set[str]] = {}
        for claims, met in zip(sets, answers, strict=True):
            for each in claims:
                leads.setdefault((each.workspace_id, each.key), set()).add(_leads(each, met))
        assert {len(found) for found in leads.values()} == {1}


async def test_a_key_twice_in_one_statement_is_claimed_once(tables: tuple[ClaimTable, ClaimTable]) -> None:
    workspace = str(uuid4())
    claims = [claim(workspace, "k") for _ in range(3)]
    met = await tables[0].claim(claims)
    assert len(met) == 2
    assert len({_leads(each, met) for each in claims}) == 1


async def test_a_claim_that_is_given_back_may_be_taken_by_others_and_is_not_taken_from_them(
    tables: tuple[ClaimTable, ClaimTable], superuser: Database
) -> None:
    workspace = str(uuid4())
    first, second = claim(workspace, "k"), claim(workspace, "k")
    await tables[0].claim([first])
    await tables[1].release([second])
    assert await keys_of(superuser, workspace) == {"k"}
    await tables[0].release([first])
    assert await tables[1].claim([second]) == {}
    await tables[0].release([first])
    assert await keys_of(superuser, workspace) == {"k"}


async def test_old_claims_are_swept_by_whoever_comes_first(tables: tuple[ClaimTable, ClaimTable], superuser: Database) -> None:
    workspace, now = str(uuid4()), now_micros()
    await tables[0].claim([claim(workspace, f"old {number}", now - 2 * DAY_MICROS) for number in range(30)])
    await tables[0].claim([claim(workspace, "young", now - DAY_MICROS + 60_000_000)])
    swept = await asyncio.gather(*(table.sweep(now - DAY_MICROS, 10) for table in tables * 2))
    assert set(swept) <= {0, 10}
    assert sum(swept) >= 10
    while await tables[1].sweep(now - DAY_MICROS, 10):
        pass
    assert await keys_of(superuser, workspace) == {"young"}


async def test_only_one_process_sweeps_at_a_time(servers: LocalStack, tables: tuple[ClaimTable, ClaimTable]) -> None:
    other = await asyncpg.connect(servers.superuser_url())
    try:
        await tables[0].claim([claim(str(uuid4()), "old", now_micros() - 2 * DAY_MICROS)])
        await other.execute("SELECT pg_advisory_lock(hashtextextended('hyrelog.claims', 0))")
        assert await tables[0].sweep(now_micros() - DAY_MICROS, 10) == 0
    finally:
        await other.close()


async def test_a_lock_on_the_table_delays_nobody_for_long(servers: LocalStack, tables: tuple[ClaimTable, ClaimTable]) -> None:
    claims = Claims(Region.US, tables[0], Metrics(CollectorRegistry()))
    locker = await asyncpg.connect(servers.superuser_url())
    try:
        async with locker.transaction():
            await locker.execute("LOCK TABLE key_claim IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(1):
                (away,) = await claims.claim([claim(str(uuid4()), "k")])
        assert away.standing is Standing.AWAY
        async with asyncio.timeout(10):
            while (await claims.claim([claim(str(uuid4()), "k")]))[0].standing is Standing.AWAY:
                await asyncio.sleep(0.05)
    finally:
        await claims.stop()
        await locker.close()


async def test_batches_that_hang_turn_no_single_claim_away(servers: LocalStack, superuser: Database) -> None:
    noisy, quiet = Writer(servers, superuser), Writer(servers, superuser)
    other = await asyncpg.connect(servers.superuser_url())
    try:
        async with ingest(servers, regions=(Region.US,)) as door, other.transaction():
            for writer in (noisy, quiet):
                await writer.post(door, None)  # so that the key is known
            held = (noisy.workspace, "held", COMPANY, str(uuid4()), CONTENT)
            await other.execute("INSERT INTO key_claim VALUES ($1, $2, $3, $4, $5, now())", *held)
            batch = asyncio.create_task(noisy.post_all(door, {"idempotencyKey": "held"}, {"idempotencyKey": "batch"}))
            singles = 0
            while not batch.done():
                assert (await quiet.post(door, f"{singles}")).status_code == 202
                singles += 1
            assert (await quiet.post(door, "after")).status_code == 202
            assert (await batch).status_code == 202
            assert len(await quiet.claimed()) == singles + 1
    finally:
        await other.close()


async def test_a_partition_that_takes_nothing_leaves_no_claim(servers: LocalStack, superuser: Database) -> None:
    writer = Writer(servers, superuser)
    partition = partition_of(writer.workspace, servers.settings(Role.INGEST).topic_partitions)
    insert = "INSERT INTO source (topic, partition, topic_id, parked_reason, parked_at) VALUES ($1, $2, $3, 'LOG_BEHIND', now())"
    await superuser.execute(insert, ingest_topic(Region.US), partition, uuid4().hex)
    try:
        async with ingest(servers, regions=(Region.US,)) as door:
            async with asyncio.timeout(20):  # until it has looked
                while (await writer.post(door, None)).status_code != 503:
                    await asyncio.sleep(0.05)
            assert (await writer.post(door, "k")).status_code == 503
            assert (await writer.post_all(door, {"idempotencyKey": "k"})).status_code == 503
        assert await writer.claimed() == set()
    finally:
        await superuser.execute("DELETE FROM source")


@pytest.mark.parametrize("query", ["claim_keys", "claims_before", "release_claims"])
async def test_keys_are_looked_up_in_an_index_however_small_the_tables_look(pools: tuple[Pool, Pool], query: str) -> None:
    """A plan that was made for empty tables is kept while they grow."""
    wanted = [claim(str(uuid4()), "k") for _ in range(3)]
    columns = list(zip(*wanted, strict=True))
    async with pools[0].acquire() as connection:
        statement = await connection.prepare(load_queries("ingest")[query])
        plan = json.dumps(await statement.explain(*columns[: len(statement.get_parameters())]))
    found = scans(json.loads(plan))
    assert found
    assert {kind for kind, table in found if table in ("event_key", "key_claim")} <= {"Index Scan", "Index Only Scan"}


async def test_a_sweep_reads_no_more_than_it_deletes(
    pools: tuple[Pool, Pool], tables: tuple[ClaimTable, ClaimTable], superuser: Database
) -> None:
    """Old claims lie among young ones, since swept pages are filled anew."""
    workspace, now = str(uuid4()), now_micros()
    for age in (0, 2 * DAY_MICROS, 0):
        await tables[0].claim([claim(workspace, f"{age} {uuid4()}", now - age) for _ in range(200)])
    async with pools[0].acquire() as connection:
        statement = await connection.prepare(load_queries("ingest")["sweep_claims"])
        plan = json.dumps(await statement.explain(now - DAY_MICROS, 10, analyze=True))
    assert ("Index Scan", "key_claim") in scans(json.loads(plan))
    assert {int(rows) for rows in re.findall(r'"Rows Removed by [\w ]+": (\d+)', plan)} <= {0}
    await superuser.execute("DELETE FROM key_claim WHERE workspace_id = $1", workspace)


async def test_times_come_back_to_the_microsecond(tables: tuple[ClaimTable, ClaimTable], superuser: Database) -> None:
    first, again = (claim("0190a000-0000-7000-8000-0000000000aa", "k", at) for at in (1_770_000_000_123_457, 1_770_000_000_123_999))
    await tables[0].claim([first])
    assert await tables[1].claim([again]) == {again.event_id: Holder(first.event_id, CONTENT, 1_770_000_000_123_457)}
    await tables[0].release([first])
